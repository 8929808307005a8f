"""The command line: what each verb prints, writes and ends with."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness import cli
from harness.data.dataset import builtin_folder
from harness.experiments.experiment import read_experiment
from harness.gate import judge
from harness.running import fill, grid
from harness.running.isolation import in_isolation
from harness.verbs.common import VERBS as DECLARED

pytestmark = pytest.mark.usefixtures("known_charts")  # its pages show one market

VERBS = sorted(DECLARED)
GROUPS = [["data", "list"], ["data", "show"], ["data", "import"], ["data", "update"]]
HEAVY = ["torch", "transformers", "chronos", "pandas", "matplotlib", "statsmodels"]
NOT_FOR_HELP = [*HEAVY, "numpy", "scipy", "pyarrow", "pydantic", "jinja2", "numba"]

LOADED_AFTER = """\
import sys
from harness.cli import run_cli
code = run_cli(sys.argv[2:])
names = [name for name in sys.argv[1].split(",") if name in sys.modules]
print("loaded:", *names, file=sys.stderr)
sys.exit(code)
"""


def loaded_after(arguments, names):
    """Which of some modules a process of its own has imported after a command line."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", LOADED_AFTER, ",".join(names), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.rpartition("loaded:")[2].split()


def process(*arguments, **variables):
    """Run abharness in a process of its own."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "harness", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | variables,
    )


@pytest.mark.parametrize("verb", [*([verb] for verb in VERBS), *GROUPS], ids=" ".join)
def test_every_verb_has_help_and_an_example(call, verb):
    """`--help` of every verb says what it does, with an example that starts with the command."""
    code, out, err = call(*verb, "--help")

    assert (code, err) == (0, "")
    assert f"Usage: abharness {' '.join(verb)}" in out
    assert re.search(rf"Example:\s+abharness {' '.join(verb)}", out)


@pytest.mark.smoke
def test_help_lists_every_verb_and_code(call):
    """`--help` names the verbs, the exit codes and what to type first."""
    code, out, _ = call("--help")

    text = " ".join(out.split())
    assert code == 0
    assert re.findall(r"^  ([a-z]+)  ", out.partition("Commands:")[2], re.MULTILINE) == [
        *VERBS,
        "data",
    ]
    for word in ("0 PROMOTE", "2 wrong input", "3 REJECT", "4 HOLD", "5 INVALID"):
        assert word in text
    assert "abharness compare" in text


@pytest.mark.smoke
def test_version(call):
    """`--version` works without a verb."""
    code, out, err = call("--version")

    assert (code, err) == (0, "")
    assert re.fullmatch(r"abharness \d+\.\d+\.\d+\n", out)


@pytest.mark.parametrize("arguments", [[], ["data"]])
def test_no_verb_shows_help(call, arguments):
    """Without a verb the help is shown, and the code is that of wrong input."""
    code, out, err = call(*arguments)

    assert (code, out) == (2, "")
    assert err.startswith("Usage: abharness")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments):
    """Help and version need neither a numerical library nor what parses and draws."""
    assert loaded_after(arguments, NOT_FOR_HELP) == []


def test_help_of_a_verb_imports_nothing_heavy():
    """Nor does the help of a verb; pydantic is what newer versions of typer parse options with."""
    names = [name for name in NOT_FOR_HELP if name != "pydantic"]

    assert loaded_after(["compare", "--help"], names) == []


PAIR = 'baseline = "old"\ncandidate = "new"'
REVERSED = 'baseline = "new"\ncandidate = "old"'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "flags", "outcome", "code"),
    [
        ((PAIR, PAIR), [], "PROMOTE", 0),
        ((PAIR, REVERSED), [], "REJECT", 3),
        ((PAIR, PAIR + "\nmin_origins = 41"), [], "HOLD", 4),
        ((PAIR, PAIR + "\nmin_origins = 41"), ["--hold-as", "pass"], "HOLD", 0),
        ((PAIR, REVERSED), ["--hold-as", "pass"], "REJECT", 3),
        (('role = "legacy"', 'role = "legacy"\nfault = "raise"'), [], "INVALID", 5),
        ((PAIR, PAIR), ["--baseline-arm", "new", "--candidate-arm", "old"], "REJECT", 3),
    ],
)
def test_compare_ends_with_the_verdict(ran, tiny, call, change, flags, outcome, code):
    """The exit code is the decision, the first word says it, and every record is written."""
    tiny(change)

    found, out, _ = call("compare", "tiny.toml", *flags)

    assert found == code
    assert out.startswith(f"{outcome}: ")
    page = Path(out.splitlines()[-1].removeprefix("page: "))
    verdict = json.loads((page.parent / "verdict.json").read_text(encoding="utf-8"))
    assert verdict["outcome"] == outcome
    assert outcome in page.read_text(encoding="utf-8")
    assert outcome in (page.parent / "summary.md").read_text(encoding="utf-8")
    suites = ElementTree.parse(page.parent / "junit.xml").getroot()
    broken = [*suites.iter("failure"), *suites.iter("error")]
    assert bool(broken) == (code != 0)


@pytest.mark.smoke
def test_gate_gives_the_same_bytes(finished, call):
    """Judging again what `compare` judged writes the same verdict.json, and the same code."""
    folder = next(Path("runs").rglob("verdict.json")).parent
    names = ["verdict.json", "junit.xml", "summary.md"]
    before = [(folder / name).read_bytes() for name in names]
    for name in names:
        (folder / name).unlink()

    again, said, _ = call("gate", "tiny.toml")

    assert again == 0
    assert said.splitlines()[-1] == f"records: {folder}"
    assert [(folder / name).read_bytes() for name in names] == before


@pytest.mark.slow
def test_one_seed_of_a_learning_arm_is_said(ran, tiny, call, page_unread):
    """Only arms that another seed would change are named, and only where one was run."""
    _, alone, _ = call("compare", "tiny.toml", "--seeds", "1")
    _, both, _ = call("compare", "tiny.toml")

    said = " ".join(alone.split())
    assert "Caution: new was run with one seed: how much another would change" in said
    assert "old was run with one seed" not in said
    assert "was run with one seed" not in both


@pytest.mark.slow
def test_gate_needs_no_arm_library(ran):
    """The gate imports neither a deep-learning library nor what draws."""
    assert loaded_after(["gate", "tiny.toml"], HEAVY) == []


@pytest.mark.slow
def test_printed_commands_work_where_they_are_printed(tiny, call, in_process, monkeypatch):
    """Named as from here: experiment, a store called `runs` elsewhere, and folders of datasets."""
    folder = Path(tiny()).resolve().parent
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    places = ["--store", "../deep kept/runs", "--data-dir", ".."]
    call("run", "../tiny.toml", *places)

    out = " ".join(call("gate", "../tiny.toml", *places)[1].split())

    commands = re.findall(r"`abharness ([^`]+)`", out)
    assert commands
    for each in commands:
        assert "../tiny.toml" in each or "rollout.toml" in each
        assert "--store '../deep kept/runs' --data-dir .." in each


def test_gate_forecasts_nothing(tiny, call, in_process):
    """The gate runs nothing: half a grid stays half a grid, and is INVALID."""
    call("run", "tiny.toml", "--only", "new")

    code, out, _ = call("gate", "tiny.toml")

    assert code == 5
    assert out.startswith("INVALID")
    assert len(list(Path("runs/parts").iterdir())) == 2


def when_drawn() -> dict[Path, int]:
    """Every file drawn of a verdict, with when it was written."""
    files = [file for file in Path("runs/verdicts").rglob("*") if file.is_file()]
    return {file: file.stat().st_mtime_ns for file in files}


@pytest.mark.slow
def test_second_compare_computes_nothing(ran, tiny, call, monkeypatch):
    """Asked again, `compare` runs, scores and draws nothing, and says the same."""
    first = call("compare", "tiny.toml")
    before = when_drawn()
    monkeypatch.setattr("harness.running.fill.LocalProcesses", None)
    monkeypatch.setattr("harness.gate.stored_scores.score", None)
    monkeypatch.setattr("harness.gate.judge.verdict_from", None)

    code, out, err = call("compare", "tiny.toml")

    assert (code, out) == first[:2]
    assert err == ""
    assert len(before) >= 4
    assert when_drawn() == before


def test_an_edited_verdict_is_not_taken_over(finished, call):
    """`compare` reads its last verdict only where the record is as it was written."""
    file = next(Path("runs/verdicts").rglob("verdict.json"))
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole.replace('"PROMOTE"', '"REJECT"'), encoding="utf-8")

    code, out, _ = call("compare", "tiny.toml")

    assert code == 0
    assert out.startswith("PROMOTE")
    assert file.read_text(encoding="utf-8") == whole


@pytest.mark.slow
def test_page_and_files_are_drawn_again_by_other_code(finished, call, monkeypatch):
    """After a change of the report's code all that is drawn of a verdict is drawn again."""
    before = when_drawn()
    monkeypatch.setattr("reports.collect.package_digest", lambda _: "other")

    call("compare", "tiny.toml")

    after = when_drawn()
    assert after.keys() == before.keys()
    assert all(after[file] > before[file] for file in before)


@pytest.mark.slow
def test_files_follow_what_hold_ends_with(finished, call):
    """JUnit is drawn again where HOLD ends with something else; the page stays."""
    before = when_drawn()

    call("compare", "tiny.toml", "--hold-as", "pass")

    moved = {file.name for file, at in when_drawn().items() if at > before[file]}
    assert "junit.xml" in moved
    assert "report.html" not in moved


@pytest.mark.slow
def test_report_draws_the_stored_verdict(finished, call):
    """`report` draws the last verdict again, and a copy where asked."""
    page = next(Path("runs").rglob("report.html"))
    text = page.read_text(encoding="utf-8")
    page.unlink()

    code, out, _ = call("report", "tiny.toml", "--output", "copy/page.html")

    assert (code, out) == (0, "page: copy/page.html\n")
    assert page.read_text(encoding="utf-8") == Path("copy/page.html").read_text(encoding="utf-8")
    assert "PROMOTE" in text


@pytest.mark.slow
def test_run_says_what_it_did(tiny, call, in_process):
    """`run` ends in 0, also with failed windows, and names their cells."""
    tiny(('role = "legacy"', 'role = "legacy"\nfault = "raise"'))

    code, out, _ = call("run", "tiny.toml")

    assert code == 0
    assert out.splitlines() == [
        "5 units of 5 in runs, 5 computed now (205 origins, 5 fits)",
        "failed windows: old/GOLD/1: RuntimeError: told to <raise>",
        "every window failed: old",
    ]


def test_config_names_every_source(tiny, call, monkeypatch, tmp_path):
    """Each setting stands with its value and where it came from."""
    (tmp_path / "more").mkdir()
    monkeypatch.setenv("ABHARNESS_DATA_DIR", "more")

    flags = ("--set", "plan.stride=6", "--set", "policy.alpha=0.1", "--without", "draws")
    code, out, _ = call("config", "tiny.toml", "--store", "elsewhere", "--seeds", "3,4", *flags)

    found = {}
    for line in out.partition("\n\n")[0].splitlines()[2:]:
        name, *value, source = line.split()
        found[name] = (" ".join(value), source)
    assert code == 0
    assert found["store"] == ("elsewhere", "flag")
    assert found["data-dir"] == ("more", "environment")
    assert found["workers"][1] == "default"
    assert found["run.seeds"] == ("(3, 4)", "flag")
    assert found["run.threads"] == ("1", "default")
    assert found["plan.GOLD.horizon"] == ("5", "file")
    assert found["plan.GOLD.gap"] == ("0", "default")
    assert found["plan.GOLD.stride"] == ("6", "flag")
    assert found["measure"] == ("not measured", "default")
    assert found["policy.alpha"] == ("0.1", "flag")
    assert found["policy.criteria[0].margin"][1] == "file"
    assert found["policy.criteria[0].statistic"] == ("mean", "default")
    assert found["policy.limits.min_skill"] == ("-", "default")
    assert found["arms.new.role"] == ("candidate", "file")
    assert not Path("elsewhere").exists()


def test_flag_wins_over_environment(tiny, call, monkeypatch):
    """Precedence is flag, environment, file, default."""
    monkeypatch.setenv("ABHARNESS_STORE", "by-environment")
    monkeypatch.setenv("ABHARNESS_WORKERS", "3")

    _, by_environment, _ = call("config", "tiny.toml")
    _, by_flag, _ = call("config", "tiny.toml", "--store", "by-flag")

    assert re.search(r"^store +by-environment +environment$", by_environment, re.MULTILINE)
    assert re.search(r"^workers +3 +environment$", by_environment, re.MULTILINE)
    assert re.search(r"^store +by-flag +flag$", by_flag, re.MULTILINE)


def test_config_lists_cells_and_origins(tiny, call):
    """The grid and every origin are listed, with the dates seen and judged."""
    _, out, _ = call("config", "tiny.toml")

    assert "grid of 5 units" in out
    assert "new/GOLD/2" in out
    origins = out.partition("fitted at row\n")[2].splitlines()
    assert len(origins) == 40
    assert origins[-1].split() == ["9127", "2012-12-24", "2012-12-25", "2012-12-31", "8932"]


def test_arms_are_listed_with_options(call):
    """`arms` shows every arm with its options and how much it reads."""
    code, out, _ = call("arms", "quick")

    assert code == 0
    assert "random-walk (reference): baselines.random_walk:RandomWalk" in out
    assert "  context = 512" in out
    assert out.count("  reads ") == len(read_experiment("quick").arms)


@pytest.mark.slow
@pytest.mark.smoke
def test_doctor(call):
    """`doctor` shows the machine, libraries, what is optional and for what, models, and quiet."""
    code, out, _ = call("doctor")

    titles = {line.split()[0] for line in out.splitlines()}
    assert code == 0
    assert titles >= {"processor", "cores", "workers", "python", "numpy", "torch", "hub", "quiet"}
    assert "optional: data from Excel files (extra `xlsx`)" in out
    assert re.search(r"^quiet +(yes: quiet enough|the machine was busy)", out, re.MULTILINE)


@pytest.mark.smoke
def test_data_list_and_show(call):
    """The built-in datasets are listed, and one is shown with its facts."""
    code, out, _ = call("data", "list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["id", "DOW_JONES", "GOLD"]

    code, out, _ = call("data", "show", "GOLD")
    assert code == 0
    assert "9132 from 1977-12-30 to 2012-12-31" in out
    assert re.search(r"^repeats +320 sessions", out, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.smoke
def test_own_data_from_file_to_verdict(tiny, call, in_process):
    """A file of one's own is imported, listed and compared on."""
    rows = (builtin_folder() / "GOLD.csv").read_text(encoding="utf-8").splitlines()[-500:]
    lines = ["day;price", *(";".join(row.split(",")[:2]) for row in rows), ""]
    Path("own.csv").write_text("\n".join(lines), encoding="utf-8")

    code, out, _ = call(
        *("data", "import", "own.csv", "--id", "OWN", "--target", "price", "--date", "day"),
        *("--to", "mine", "--title", "My own"),
    )
    assert code == 0
    assert out.endswith("\nwrote mine/OWN.toml; use it with --data-dir mine\n")
    assert "My own" in call("data", "list", "--data-dir", "mine")[1]
    assert "500 from" in call("data", "show", "OWN", "--data-dir", "mine")[1]
    tiny(('["GOLD"]', '["OWN"]'))
    code, out, _ = call("compare", "tiny.toml", "--data-dir", "mine")
    assert code in (0, 3, 4)
    assert "OWN" in out


def test_oddities_of_data_are_noted(tiny, call, in_process):
    """What is allowed but odd in the data is said on standard error, and does not stop."""
    rows = (builtin_folder() / "GOLD.csv").read_text(encoding="utf-8").splitlines()[-500:]
    del rows[100:120]
    lines = ["day,price", *(",".join(row.split(",")[:2]) for row in rows), ""]
    Path("own.csv").write_text("\n".join(lines), encoding="utf-8")
    call(
        *("data", "import", "own.csv", "--id", "OWN", "--target", "price", "--date", "day"),
        *("--to", "mine"),
    )
    tiny(('["GOLD"]', '["OWN"]'))

    code, _, err = call("run", "tiny.toml", "--data-dir", "mine")

    assert code == 0
    assert err.startswith("note: mine/OWN.csv: 1 gap of more than 10 days")


def break_it(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("the roof\nis leaking")

    monkeypatch.setattr(judge, "judge_grid", broken)


def test_own_fault_is_one_line(ran, monkeypatch, capsys):
    """A fault of ours leaves the verb as it is, and the process's last word is one line."""
    break_it(monkeypatch)

    with pytest.raises(RuntimeError) as caught:
        cli.run_cli(["gate", "tiny.toml"])
    capsys.readouterr()
    sys.excepthook(RuntimeError, caught.value, caught.tb)

    line = capsys.readouterr().err
    assert line.startswith("abharness: internal error: RuntimeError: the roof is leaking")
    assert line.count("\n") == 1
    assert "--debug" in line


CRASH = """\
import sys
from harness import cli
from harness.running import fill
def broken(*_, **__):
    raise RuntimeError("the roof is leaking")
fill.prepare = broken
sys.exit(cli.run_cli(sys.argv[1:]))
"""


@pytest.mark.parametrize("debug", [False, True])
def test_own_fault_ends_with_1(debug):
    """A process that ends by a fault of ours has code 1, and a traceback only on request."""
    flags = ["--debug"] if debug else []

    done = subprocess.run(
        [sys.executable, "-P", "-c", CRASH, *flags, "config"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert "the roof is leaking" in done.stderr
    assert ("Traceback" in done.stderr) == debug
    assert debug or done.stderr.count("\n") == 1


@pytest.mark.smoke
@pytest.mark.slow
def test_real_process_from_start_to_page(tiny):
    """The whole way in real processes: results on standard output, progress on the other."""
    done = process("compare", "tiny.toml", ABHARNESS_STORE="by-environment", ABHARNESS_WORKERS="2")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("PROMOTE: may new replace old?")
    assert "running 5 of 5 units on 2 workers" in done.stderr
    assert "internal" not in done.stderr
    page = Path(done.stdout.splitlines()[-1].removeprefix("page: "))
    assert page.parts[0] == "by-environment"
    assert page.is_file()
    assert len(list(Path("by-environment/scores").iterdir())) == 5


def test_lists_are_written_whole_or_not_at_all(tiny, call):
    """An arm that cannot be built leaves no half list behind."""
    tiny(("arms_for_tests:Learner", "arms_for_tests:Teacher"))

    code, out, err = call("arms", "tiny.toml")

    assert (code, out) == (2, "")
    assert "no class 'Teacher'" in err


@pytest.mark.slow
def test_policy_from_a_file(ran, tiny, call, page_unread):
    """A policy in a file of its own is named by the experiment, or given by a flag that wins."""
    text = Path("tiny.toml").read_text(encoding="utf-8")
    head, _, body = text.partition("[policy]\n")
    Path("own.toml").write_text(body.replace("policy.", ""), encoding="utf-8")
    strict = body.replace("policy.", "").replace("mode =", "min_origins = 41\nmode =")
    Path("strict.toml").write_text(strict, encoding="utf-8")
    Path("tiny.toml").write_text('policy = "own.toml"\n' + head, encoding="utf-8")

    assert call("compare", "tiny.toml")[0] == 0
    assert call("gate", "tiny.toml", "--policy", "strict.toml")[0] == 4
    assert "nowhere.toml: no such file" in call("gate", "tiny.toml", "--policy", "nowhere.toml")[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "code"), [([], 0), (["--hold-as", "fail"], 4), (["--hold-as", "pass"], 0)]
)
def test_the_policy_says_what_hold_is_unless_a_flag_does(ran, tiny, call, flags, code, page_unread):
    """`hold_as` of the policy maps HOLD to 0; the flag wins."""
    tiny(('mode = "replace"', 'mode = "replace"\nmin_origins = 41\nhold_as = "pass"'))

    assert call("compare", "tiny.toml", *flags)[0] == code


@pytest.mark.slow
def test_waivers_are_held_against_the_day_that_is_given(ran, tiny, call):
    """On its last day a waiver holds, a day later it does not; the day is in the record."""
    waiver = (
        'waivers = [{finding = "GOLD:crps:*", owner = "ada", reason = "see 12", '
        "until = 2030-06-30}]"
    )
    tiny((PAIR, f"{REVERSED}\n{waiver}"))

    on_time, out, _ = call("gate", "tiny.toml", "--date", "2030-06-30")
    late, _, _ = call("gate", "tiny.toml", "--date", "2030-07-01")

    assert (on_time, late) == (4, 3)  # with its only guardrail waived nothing is judged
    assert "ada: see 12" in " ".join(out.split())
    assert "expected a date" in call("gate", "tiny.toml", "--date", "tomorrow")[2]


STEERING = r"""
from arms_for_tests import Flat


class Steering(Flat):
    def __init__(self):
        print("built", flush=True)
        super().__init__()

    def card(self):
        return {"kind": "\x1b[2Jcleared"}

    def forecast(self, contexts):
        raise RuntimeError("\x1b[31mred\x1b[0m \x00 \x9b \u202e <b>")
"""


@pytest.mark.slow
def test_no_text_of_a_user_steers_the_terminal(ran, tiny, call, tmp_path):
    """Escape codes in names, messages and cards are shown, on the terminal and on the page."""
    (tmp_path / "steering_arms.py").write_text(STEERING, encoding="utf-8")
    tiny(
        ('name = "draws"', r'name = "dr\u001b[1maws"'),
        ("arms_for_tests:Sampler", "steering_arms:Steering"),
    )

    said = [call(*words) for words in (("compare", "tiny.toml"), ("run", "tiny.toml"))]
    said += [call(verb, "tiny.toml") for verb in ("arms", "config", "gate")]
    page = next(Path("runs/verdicts").rglob("report.html")).read_text(encoding="utf-8")
    notes = Path(page_folder(said[0][1]) / "summary.md").read_text(encoding="utf-8")

    texts = [*(text for _, out, err in said for text in (out, err)), page, notes]
    assert not any(sign in text for text in texts for sign in "\x1b\x00\x9b\u202e")
    assert "dr\\x1b[1maws" in said[1][1]
    assert "\\x1b[31mred\\x1b[0m \\x00 \\x9b \\u202e &lt;b&gt;" in page
    assert "kind: \\x1b[2Jcleared" in said[2][1]


def page_folder(out):
    """Where a command says it wrote its page."""
    return Path(out.split("page: ")[1].splitlines()[0]).parent


@pytest.mark.slow
@pytest.mark.parametrize("words", [("report", "--format", "json"), ("power", "--format", "json")])
def test_what_an_arm_prints_is_not_in_the_result(
    tiny,
    call,
    in_process,
    tmp_path,
    monkeypatch,
    words,
    page_unread,
):
    """Standard output holds the result alone, whatever an arm prints while it is built."""
    for module in (grid, fill):
        monkeypatch.setattr(module, "in_isolation", in_isolation)
    text = STEERING.replace("def forecast", "def not_this")
    (tmp_path / "printing_arms.py").write_text(text, encoding="utf-8")
    tiny(("arms_for_tests:Sampler", "printing_arms:Steering"))
    assert call("compare", "tiny.toml")[0] == 4  # implausibly good, which holds a PROMOTE back

    code, out, err = call(words[0], "tiny.toml", *words[1:])

    assert code == 0
    assert json.loads(out)
    assert "built" not in out + err  # it was built in a process of its own
