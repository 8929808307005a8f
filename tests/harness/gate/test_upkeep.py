"""A store's upkeep: damage is told or harmless, and what goes, comes in or is given up is said."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from damage import damaged

from harness.errors import StoreError
from harness.gate import upkeep
from harness.gate.history import standing
from harness.running.store_folder import open_store
from reports.words import facts as words


def opened():
    return open_store(Path("runs"), create=False)


def part_file():
    return min(Path("runs/parts").iterdir())


def flip(file, at=600):
    content = bytearray(file.read_bytes())
    content[at] ^= 4
    file.write_bytes(content)


@pytest.mark.slow
def test_a_sound_store_is_said_to_be(finished, call):
    """Chain, seals and the verdict that stands hold: counts, the head, exit code 0."""
    store = opened()

    code, out, err = call("store", "check")

    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"{len(store.journal)} records, 5 fits, 5 parts, head {store.journal.short}",
        "tiny: judged again: the same, byte by byte",
    ]


def test_what_differs_is_named(finished, call):
    """A changed part is named with the verdict it was in; exit code 5."""
    flip(part_file())

    code, out, _ = call("store", "check")

    assert code == 5
    assert f"damaged: {part_file()}: is not what was sealed" in out
    assert "tiny: judged again: differs" in out
    assert out.count(part_file().name) == 2


def test_forecasts_that_are_not_those_sealed_by_origin_are_named(finished):
    """A seal whose digest fits the file is held against every forecast as well."""
    store = opened()
    key, seal = next(iter(store.parts().items()))
    other = dataclasses.replace(seal, digests=(seal.digests[1], *seal.digests[1:]))
    store.seal(seal.fit, None, key, other)

    found = upkeep.check_store(opened())

    assert not found.sound
    assert f"{key}.parquet: its forecasts are not those that were sealed" in found.damage[0]


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("part", lambda body: body | {"levels": [0.1, 0.9]}),
        ("part", lambda body: {k: v for k, v in body.items() if k != "digests"}),
        ("fit", lambda body: {k: v for k, v in body.items() if k != "cutoff"}),
    ],
)
def test_an_edited_record_changes_no_verdict(finished, call, kind, change):
    """Levels changed in a part's record, a key dropped: one line that names the row.

    Code 2 of what needs the records, 5 of the check that looks for just that.
    """
    import sqlite3

    journal = opened().journal
    record = journal.records(kind)[0]
    edited = change(journal.body(record))
    journal.close()
    connection = sqlite3.connect("runs/records.sqlite")
    with connection:
        body = str(edited).encode()
        connection.execute("UPDATE records SET body = ? WHERE seq = ?", (body, record.seq))
    connection.close()

    code, out, err = call("store", "check")
    assert (code, err) == (5, "")
    assert f"row {record.seq} ({kind} " in out
    assert out.count("\n") == 1
    for verb in (("gate", "tiny.toml"), ("replay", "tiny")):
        code, out, err = call(*verb)

        assert (code, out) == (2, "")
        assert f"row {record.seq} ({kind} " in err
        assert err.count("\n") == 1


def test_a_broken_chain_and_lost_records_are_damage(finished, call):
    """A row taken out, a file that is no database, none at all: named, code 5; no store is 2."""
    import sqlite3

    file = Path("runs/records.sqlite")
    connection = sqlite3.connect(file)
    with connection:
        connection.execute("DELETE FROM records WHERE seq = 3")
    connection.close()
    row = call("store", "check")
    file.write_bytes(b"no database" * 999)
    other = call("store", "check")
    file.unlink()
    gone = call("store", "check")

    assert [each[0] for each in (row, other, gone)] == [5, 5, 5]
    assert "row 3 is missing" in row[1]
    assert "records.sqlite: damaged" in other[1]
    assert "results without their records" in gone[1]
    assert call("store", "check", "--store", "elsewhere")[0] == 2


@pytest.mark.slow
def test_pruning_removes_what_no_experiment_needs(finished, tiny, call, page_unread):
    """Parts of an arm that is declared no more go with their fits; the verdict still replays."""
    tiny(('"arms_for_tests:Sampler"', '"arms_for_tests:Flat"\ncontext = 31'))
    call("compare", "tiny.toml")
    Path("runs/parts/left.parquet").write_bytes(b"x" * 2**20)

    code, out, _ = call("store", "prune")
    again = call("store", "prune")[1]

    assert code == 0
    assert "removed 3 parts, 2 fits" in out or "removed 2 parts, 2 fits" in out
    assert float(out.rpartition(": ")[2].split()[0]) >= 1
    assert again.startswith("removed 0 parts, 0 fits, 0 files of scores, 0 folders")
    assert call("replay", "tiny", "--store", "runs")[0] == 0
    assert call("store", "check")[0] == 0


@pytest.mark.slow
def test_what_was_pruned_is_computed_again(finished, tiny, call, page_unread):
    """An experiment that asks for pruned parts gets them anew, and the same verdict."""
    before = standing(opened(), "tiny")
    tiny(('"arms_for_tests:Sampler"', '"arms_for_tests:Flat"\ncontext = 31'))
    call("compare", "tiny.toml")
    call("store", "prune")
    tiny()

    assert call("compare", "tiny.toml")[0] == 0
    assert standing(opened(), "tiny") == before


def test_a_damaged_part_is_given_up_for_a_reason(finished, call, refused):
    """Only a damaged part of a known name, with why; the record says so."""
    key = part_file().stem
    assert "so there is nothing to drop" in refused("store", "drop", key, "--why", "x")
    flip(part_file())
    assert "no sealed parts begin with 'zz'" in refused("store", "drop", "zz", "--why", "x")
    assert "5 sealed parts begin with ''" in str(
        caught_by(lambda: upkeep.drop(opened(), "", why=""))
    )
    assert "needs the key of a part and --why" in refused("store", "drop", key)

    code, out, _ = call("store", "drop", key[:12], "--why", "the disk broke")

    assert code == 0
    assert f"dropped part {key[:12]}" in out
    assert part_file().stem != key
    assert opened().journal.latest("drop", key)["why"] == "the disk broke"
    assert key not in opened().parts()


def caught_by(what):
    try:
        what()
    except StoreError as problem:
        return problem
    return None


@pytest.mark.slow
def test_parts_without_their_records_are_adopted(finished, call, refused):
    """A new attempt from what is left: the same scores, issued now, and why is recorded."""
    before = {name: seal.digests for name, seal in opened().parts().items()}
    shutil.copy(part_file(), part_file().with_name("0" * 64 + ".parquet"))
    for name in ("records.sqlite", "scores", "verdicts"):
        there = Path("runs") / name
        shutil.rmtree(there) if there.is_dir() else there.unlink()
    assert "results without their records" in refused("gate", "tiny.toml")
    assert "needs an experiment and --why" in refused("store", "adopt")

    code, out, _ = call("store", "adopt", "tiny.toml", "--why", "the disk broke")

    assert code == 0
    assert out.startswith("adopted 5 parts of 5 fits, head ")
    assert f"not taken, it belongs to no fit of tiny.toml: {'0' * 64}.parquet" in out
    assert {name: seal.digests for name, seal in opened().parts().items()} == before
    assert call("gate", "tiny.toml")[0] == 0
    assert call("store", "check")[0] == 0


@pytest.mark.slow
def test_parts_of_origins_counted_back_from_another_end_are_adopted_by_date(finished, tiny, call):
    """They belong to no fit of today's plan, and what is said of them takes them all."""
    before = {name: seal.digests for name, seal in opened().parts().items()}
    (Path("runs") / "records.sqlite").unlink()
    tiny(("origins = 40", "origins = 39"))  # as if the data had grown since

    code, out, _ = call("store", "adopt", "tiny.toml", "--why", "the disk broke")

    assert code == 0
    assert out.startswith("adopted 0 parts of 0 fits")
    first = re.search('first = "[0-9-]+"', out)[0]
    tiny(("origins = 40", first))
    code, out, _ = call("store", "adopt", "tiny.toml", "--why", "the disk broke")
    assert (code, out.splitlines()[1:]) == (0, [])
    assert {name: seal.digests for name, seal in opened().parts().items()} == before


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_damage_anywhere_is_told_or_changes_nothing(finished, call, seed):
    """Some of the flips and cuts of the study: no figure changes, and no traceback is shown."""
    sound = call("gate", "tiny.toml")[1]
    shutil.copytree("runs", "kept")
    chance = Random(seed)
    for _ in range(4):
        done = damaged(Path("runs"), chance)

        code, out, err = call("gate", "tiny.toml")

        assert (code, out) == (0, sound) or code in (2, 5), done
        assert "internal error" not in err
        assert err.count("\n") <= 1
        shutil.rmtree("runs")
        shutil.copytree("kept", "runs")


SEVERAL = """
import contextlib, io, json, sys
from harness.cli import run_cli
told = []
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        with contextlib.redirect_stderr(io.StringIO()) as err:
            code = run_cli(words)
    told.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(told))
"""


def without_leave_to_write(*lines):
    """Run command lines in a process that owns the files and may write none of them."""
    for path in sorted(Path("runs").rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    Path("runs").chmod(0o555)
    words = [line.split() for line in lines]
    line = [sys.executable, "-P", "-c", SEVERAL, json.dumps(words)]
    if os.geteuid() == 0:
        capable = shutil.which("setpriv")
        if capable is None:
            pytest.skip("root writes everywhere, and setpriv is not there")
        line = [capable, "--bounding-set=-dac_override", "--inh-caps=-dac_override", *line]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    for path in sorted([Path("runs"), *Path("runs").rglob("*")]):
        path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_store_that_cannot_be_written_is_shown(finished):
    """`gate` judges and records nothing, `report` draws elsewhere, `store check` reads."""
    head = opened().journal.head

    gate, shown, refused, check, run = without_leave_to_write(
        "gate tiny.toml --records kept",
        "report tiny.toml --output page.html",
        "report tiny.toml",
        "store check",
        "run tiny.toml",
    )

    assert gate[0] == 0
    assert gate[1].endswith("records: none, the store is read-only\n")
    assert {file.name for file in Path("kept").iterdir()} == {
        "verdict.json",
        "junit.xml",
        "summary.md",
    }
    assert shown[0] == 0
    assert "head of the store" in Path("page.html").read_text(encoding="utf-8")
    assert refused[0] == 2
    assert "--output FILE" in refused[2]
    assert check[0] == 0
    assert (run[0], run[2].count("\n")) == (2, 1)
    assert "read-only" in run[2]
    assert opened().journal.head == head


@pytest.mark.slow
def test_the_head_is_printed_everywhere(finished, call):
    """The last line, page, JUnit and Markdown print the head at which the verdict was passed."""
    code, out, _ = call("gate", "tiny.toml")
    store = opened()
    head = store.journal.records("passed")[-1].head[:12]
    folder = store.verdict_folder("tiny") / standing(store, "tiny")

    assert code == 0
    assert f"head of the store's records: {head}\n" in out
    for name in ("report.html", "junit.xml", "summary.md"):
        assert head in (folder / name).read_text(encoding="utf-8"), name
    assert call("replay", "tiny", "--store", "runs")[1].endswith(f"head {head}\n")


@pytest.mark.slow
def test_drawn_files_are_never_read_back(finished, call):
    """Nonsense in place of everything drawn changes nothing; it is drawn again."""
    next(Path("runs/verdicts").rglob("report.html")).unlink()
    before = call("compare", "tiny.toml")[:2]
    drawn = {file: file.read_bytes() for file in Path("runs/verdicts").rglob("*") if file.is_file()}
    for file in drawn:
        file.write_bytes(b"\xff{")

    after = call("compare", "tiny.toml")[:2]

    assert after == before
    assert {file: file.read_bytes() for file in drawn} == drawn


@pytest.mark.slow
def test_a_folder_that_another_verdict_replaces_goes(ran, tiny, call):
    """What was drawn of a verdict without a page goes when the next on its pair is drawn."""
    for margin in (4, 6, 7):
        tiny(("margin = 0.05", f"margin = 0.0{margin}"))
        call("gate", "tiny.toml")

    assert [folder.name for folder in Path("runs/verdicts/tiny").iterdir()] == [
        standing(opened(), "tiny")
    ]
    assert len(opened().journal.records("passed")) >= 3


def test_facts_of_upkeep_have_words(finished):
    """Each difference that a check of the store names is said in words."""
    flip(part_file())

    found = upkeep.check_store(opened())

    for facts in found.verdicts.values():
        assert all(words.say(each) for each in facts)
