"""Golden records: what today's writer wrote is read, and is what it writes again."""

import dataclasses
import enum
import inspect
import json
import re
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import pytest

from harness.gate.history import Inputs, history, read_inputs, standing
from harness.gate.looks import all_tried, looks_taken
from harness.gate.nights import Night, nights
from harness.judging.fact import SCHEMA, FactCode
from harness.judging.verdict import Verdict, plain
from harness.running.sources import digest
from harness.running.store_folder import open_store

NESTED = ("given", "spent", "environment")
RECORDS = {"verdict": Verdict, "inputs": Inputs, "night": Night}
GOLDEN = Path(__file__).parents[2] / "golden"


def golden(kind):
    (file,) = (GOLDEN / kind).glob("schema-*.json")
    return json.loads(file.read_text(encoding="utf-8"))


def as_json(value):
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("kind", ["inputs", "passed", "fit", "part", "look", "tried", "night"])
def test_the_golden_record_is_read_and_written_as_it_was(tmp_path, kind):
    """A record becomes one of its class, and the same content again."""
    store, body = open_store(tmp_path), golden(kind)
    key = json.dumps(["quick", "new", "old"]) if kind == "passed" else "k"
    store.journal.append(kind, key, body)

    if kind == "inputs":
        again = plain(read_inputs(store, "k"))
    elif kind == "passed":
        (entry,) = history(store, "quick")
        again = {k: v for k, v in plain(entry).items() if k not in ("sequence", "head", "at")}
    elif kind == "look":
        again = as_json(plain(looks_taken(store, "k")[0]))
    elif kind == "tried":
        (found,) = all_tried(store)
        again = {k: v for k, v in as_json(plain(found)).items() if k != "at"}
    elif kind == "night":
        (last,) = nights(store, "k")
        again = {k: v for k, v in as_json(plain(last)).items() if k != "at"}
    elif kind == "fit":
        again = as_json(dataclasses.asdict(store.fit("k")))
    else:
        again = as_json(dataclasses.asdict(store.parts()["k"]))

    assert again == body


def test_records_of_a_run_have_the_golden_forms(finished):
    """Every kind has the keys of its golden copy: a change of the form changes that with it."""
    journal = open_store(Path("runs")).journal

    def keys(body):
        return {name: set(body[name]) if name in NESTED else None for name in body}

    for kind in ("verdict", "inputs", "family", "passed", "fit", "part", "tried"):
        body = journal.body(journal.records(kind)[0])

        assert keys(body) == keys(golden(kind)), kind


def form_of(kind, above=()):
    """What a class is made of, whatever it is called: its fields or values, all the way down."""
    if kind in above:
        return above.index(kind)
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        own = dataclasses.fields(kind)
        return {each.name: form_of(hints[each.name], (*above, kind)) for each in own}
    if isinstance(kind, enum.EnumType):
        return [each.value for each in kind]
    if inside := get_args(kind):
        return [str(get_origin(kind)), *(form_of(each, above) for each in inside)]
    return getattr(kind, "__name__", str(kind))


def test_records_of_another_form_have_another_schema_number():
    """A field or a fact that changes without the number would be read as what it is not."""
    forms = {kind: form_of(each) for kind, each in RECORDS.items()}
    forms["values of facts"] = re.findall(r"[A-Z_]+ = .*#.*", inspect.getsource(FactCode))
    known = json.loads((GOLDEN / "forms.json").read_text(encoding="utf-8"))
    todo = f'raise harness.judging.fact.SCHEMA, and add to forms.json: "{digest(forms)}"'

    assert known[str(SCHEMA)] == digest(forms), todo
    assert max(map(int, known)) == SCHEMA
    assert len(known) == len(set(known.values()))


def test_a_verdict_of_an_older_form_is_judged_again(finished, call, page_unread):
    """Who asks for it as it is gets one line; `compare` judges, and it can be read again."""
    store = open_store(Path("runs"))
    name = standing(store, "tiny")
    body = store.journal.latest("verdict", name)
    older = {**body, "schema": SCHEMA - 1, "summary": {"code": "unknown by now"}}
    store.journal.append("verdict", name, older)

    code, _, err = call("replay", "tiny", "--store", "runs")

    assert (code, len(err.splitlines())) == (2, 1)
    assert f"older abharness: schema {SCHEMA - 1}, this one reads {SCHEMA}; `abharness gate" in err
    assert call("compare", "tiny.toml")[0] == 0
    assert store.journal.latest("verdict", name) == body
    assert call("replay", "tiny", "--store", "runs")[0] == 0
