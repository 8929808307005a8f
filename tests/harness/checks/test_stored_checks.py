"""Results of the battery in the store."""

import dataclasses
import json
import math
from pathlib import Path

import pytest
from torch import nn

from harness.checks import (
    ArmSubject,
    catalogue,
    network_subject,
    read_checks,
    run_battery,
    stored_checks,
    write_check,
)
from harness.errors import StoreError
from harness.running.store_folder import open_store


class Constant(nn.Module):
    """Answers zeros: T2 passes, T34 fails, T15 does not apply."""

    def __init__(self, config):
        super().__init__()
        self.shape = config["pred_len"], config["c_out"]

    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec):
        return x_enc.new_zeros(len(x_enc), *self.shape)


GOLDEN = Path(__file__).parents[2] / "golden" / "check" / "schema-1.json"
SUBJECT = network_subject(lambda name, config: Constant(config), "constant", {"seq_len": 24})


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "runs")


def tried(store, *codes, target="constant", options=None):
    results = run_battery(SUBJECT, codes)
    given = {"target": target, "role": "legacy", "options": options or {}}
    return write_check(store, SUBJECT, results, **given)


def test_record_comes_back_as_it_was_written(store):
    """Target, side, options and every field of every result survive the store."""
    written = tried(store, "T2", "T34", "T15", options={"repaired": True})

    (found,) = read_checks(store)

    assert found == written
    assert [r.outcome for r in found.results] == ["pass", "not applicable", "fail"]
    assert (found.role, found.kind, found.failing) == ("legacy", "network", ("T34",))
    assert found.result("T34").measured == {"value": 0.0}
    assert found.result("T9") is None


def test_later_trial_keeps_predicates_it_left_out(store):
    """A trial of one predicate does not lose the others of the same code."""
    tried(store, "T2", "T34")
    tried(store, "T34", "T15")

    (found,) = read_checks(store)

    assert [r.code for r in found.results] == ["T2", "T15", "T34"]


def test_options_make_another_record(store):
    """The repaired build is another subject than the faithful one."""
    tried(store, "T2")
    tried(store, "T2", options={"repaired": True})

    assert [found.options for found in read_checks(store)] in (
        [{}, {"repaired": True}],
        [{"repaired": True}, {}],
    )


def test_results_of_other_code_are_marked_and_not_kept(store, monkeypatch):
    """What was measured on other code is not current, and a new trial replaces it."""
    tried(store, "T2", "T34")
    monkeypatch.setattr(stored_checks, "_source", lambda use, beside: "changed")

    (old,) = read_checks(store)
    tried(store, "T2")
    (new,) = read_checks(store)

    assert (old.current, new.current) == (False, True)
    assert [r.code for r in new.results] == ["T2"]


def test_a_changed_helper_makes_a_check_old(store, tmp_path, monkeypatch):
    """What an arm's module imports from beside it belongs to the code that was tried."""
    (tmp_path / "helped.py").write_text("import its_own_helper\n", encoding="utf-8")
    (tmp_path / "its_own_helper.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    subject = ArmSubject(name="a", construct=lambda given: None, use="helped:Arm")
    write_check(store, subject, [], target="a", role=None, options={})
    stored_checks._source.cache_clear()
    (before,) = read_checks(store)

    (tmp_path / "its_own_helper.py").write_text("CHANGED = 1\n", encoding="utf-8")
    stored_checks._source.cache_clear()
    (after,) = read_checks(store)

    assert (before.current, after.current) == (True, False)


class Weighted:
    """An arm with a file of its own."""

    context_length = 1

    def __init__(self, file):
        self.file = file

    def forecast(self, contexts):
        raise AssertionError(contexts)

    def weight_files(self):
        return [self.file]


def test_changed_weights_make_another_record_of_it(store, tmp_path):
    """What an arm's files hold is kept, and results on other files are not mixed with new ones."""
    file, (first, second) = tmp_path / "weights", run_battery(SUBJECT, ["T2", "T34"])
    subject = ArmSubject(name="a", construct=lambda given: Weighted(file))
    file.write_text("one", encoding="utf-8")
    before = write_check(store, subject, [first], target="a", role=None, options={})
    file.write_text("two", encoding="utf-8")

    after = write_check(store, subject, [second], target="a", role=None, options={})

    assert before.weights != after.weights == stored_checks.files_digest(Weighted(file))
    assert [each.code for each in after.results] == [second.code]


def test_the_golden_record_is_read_and_written_as_it_was(store):
    """A record becomes one of its class, and the same content again."""
    content = json.loads(GOLDEN.read_text(encoding="utf-8"))
    record = stored_checks.read_check(content, where="golden")

    again = store.journal.append("check", record.key, stored_checks._plain(record))

    assert store.journal.body(again) == content
    assert [r.outcome for r in record.results] == ["pass", "not applicable", "fail"]
    assert math.isnan(record.results[0].measured["never"])


def test_value_that_is_not_finite_is_stored(store):
    """An infinite value becomes null in the file and comes back as NaN, with its outcome."""
    (result,) = run_battery(SUBJECT, ["T34"])
    endless = dataclasses.replace(result, measured={"value": float("inf")})
    write_check(store, SUBJECT, [endless], target="constant", role=None, options={})

    (found,) = read_checks(store)

    assert found.results[0].outcome == "fail"
    assert found.results[0].measured["value"] != found.results[0].measured["value"]


@pytest.mark.parametrize("change", [{"results": [{"code": "T1", "measured": {}}]}, {"colour": 1}])
def test_a_record_of_another_form_is_refused(store, change):
    """A record that is not whole is named in one line."""
    written = tried(store, "T2")
    body = store.journal.latest("check", written.key)
    store.journal.append("check", written.key, body | change)

    with pytest.raises(StoreError, match=r"row 2 \(check "):
        read_checks(store)


def test_the_same_results_again_write_nothing(store):
    """A check that found what it found before adds no record."""
    written = tried(store, "T2")
    head = store.journal.head

    write_check(store, SUBJECT, written.results, target="constant", role="legacy", options={})

    assert store.journal.head == head


def test_store_without_checks_has_none(store):
    """Nothing tried is an empty list, not an error."""
    assert read_checks(store) == []


def test_every_result_states_what_it_is():
    """Code, title, threshold, what was wanted, outcome, reason and duration are always there."""
    results = run_battery(SUBJECT)

    assert [r.code for r in results] == [each.code for each in catalogue()]
    for result in results:
        assert result.title
        assert result.wanted
        assert result.reason
        assert result.seconds >= 0
        assert bool(result.measured) == (result.outcome in ("pass", "fail"))
