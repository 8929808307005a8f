"""Golden records: what today's writer wrote is read, and is what it writes again."""

import dataclasses
import json
from pathlib import Path

import pytest

from harness.gate.history import history, read_inputs
from harness.gate.looks import all_tried, looks_taken
from harness.gate.nights import nights
from harness.judging.verdict import plain
from harness.running.store_folder import open_store

NESTED = ("given", "spent", "environment")
GOLDEN = Path(__file__).parents[2] / "golden"


def golden(kind):
    return json.loads((GOLDEN / kind / "schema-1.json").read_text(encoding="utf-8"))


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
