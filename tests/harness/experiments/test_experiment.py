"""The experiment file: what is read, what is refused, and what the built-in ones promise."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from harness.arm_ref import ArmRef
from harness.data.dataset import load
from harness.data.manifest import read_manifest
from harness.errors import ArmError, ConfigError, DataError
from harness.experiments.experiment import (
    Edits,
    RunSettings,
    builtin_names,
    parse_experiment,
    read_experiment,
)
from harness.experiments.policy import Policy, parse_policy
from harness.experiments.rules import CoverageRule, Criterion, Limits
from harness.parsing import table
from harness.running.split import split
from harness.window import RollingOrigin

BASE = """\
datasets = ["DOW_JONES", "GOLD"]
[plan]
horizon = 5
stride = 5
origins = 40
[[arms]]
name = "a"
use = "m:A"
role = "legacy"
[[arms]]
name = "b"
use = "m:B"
role = "candidate"
size = 3
deep = {x = [1, 2.5]}
[policy]
baseline = "a"
candidate = "b"
[[policy.criteria]]
metric = "mae"
"""


def parse(*changes, text=BASE):
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse_experiment(text, source="folder/some.toml", folder=Path("folder"))


def test_what_is_left_out_has_a_default():
    """A short file is enough; name, title and settings come from defaults."""
    found = parse()

    assert (found.name, found.title, found.datasets) == ("some", "some", ("DOW_JONES", "GOLD"))
    assert found.run == RunSettings()
    assert found.plans["GOLD"] == RollingOrigin(horizon=5, stride=5, origins=40)
    assert found.policy.mode == "replace"
    assert found.text == BASE


def test_arm_keys_become_options():
    """Every other key of an arm's table is an argument of its class, tables and lists too."""
    first, second = parse().arms

    assert first.options == {}
    assert second.options == {"size": 3, "deep": {"x": [1, 2.5]}}
    assert second.folder == Path("folder")


def test_plan_of_one_dataset():
    """A table named after a dataset overrides the common plan for it and for no other."""
    found = parse(
        ('[[arms]]\nname = "a"', '[plan.GOLD]\nstride = 7\ngap = 2\n[[arms]]\nname = "a"')
    )

    common = RollingOrigin(horizon=5, stride=5, origins=40)
    assert found.plans["DOW_JONES"] == common
    assert found.plans["GOLD"] == dataclasses.replace(common, stride=7, gap=2)


def test_plan_may_be_given_per_dataset_only():
    """What every dataset gives itself need not stand in the common table."""
    own = '[plan.GOLD]\norigins = 9\n[plan.DOW_JONES]\nfirst = 2015-01-31\n[[arms]]\nname = "a"'

    found = parse(("origins = 40\n", ""), ('[[arms]]\nname = "a"', own))

    assert (found.plans["GOLD"].origins, found.plans["GOLD"].first) == (9, None)
    assert (found.plans["DOW_JONES"].origins, found.plans["DOW_JONES"].first) == (
        None,
        "2015-01-31",
    )


@pytest.mark.parametrize("first", ["2015-01-31", '"2015-01-31"'])
def test_dates_with_and_without_quotes(first):
    """A TOML date and its text are the same first origin."""
    found = parse(("origins = 40", f"first = {first}"))

    assert found.plans["GOLD"].first == "2015-01-31"


def test_seeds_by_flag_win():
    """Other seeds replace those of the file, and nothing else."""
    found = parse()

    other = found.with_seeds([7, 8])

    assert other.run == dataclasses.replace(found.run, seeds=(7, 8))
    assert other.plans == found.plans


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("stride = 5", "stride = 5\ntypo = 1"), r"some\.toml: \[plan\]: unknown key 'typo'"),
        (("horizon = 5", "horizon = 5.0"), r"\[plan\]: horizon = 5\.0: expected a valid integer"),
        (("origins = 40\n", ""), r"needs `first` .* or `origins`"),
        (("[policy]", "[policy]\nlimits = 3"), r"limits = 3: expected a table"),
        (("[plan]", "plan = 3\n[pläne]"), r"not valid TOML"),
        (
            ("[plan]\nhorizon = 5\nstride = 5\norigins = 40", "plan = 3"),
            r"plan = 3: expected a table",
        ),
        (("[plan]", "[run]\nbatch = -1\n[plan]"), r"batch = -1: expected more than 0"),
        (("[plan]", "[run]\nseeds = [1, 1]\n[plan]"), r"\[run\] seeds = \[1, 1\]: expected each"),
        (('name = "a"', "name = 3"), r"missing key 'name' \(a text\)"),
        (("size = 3", "size = nan"), r"'b': options .*finite numbers"),
        (("size = 3", "size = 12:30:00"), r"'b': options .*dates in quotes"),
    ],
)
def test_faults_name_file_and_key(change, words):
    """What does not fit is refused with the file, the table, the key and what was expected."""
    with pytest.raises(ConfigError, match=words) as caught:
        parse(change)

    assert str(caught.value).startswith("folder/some.toml: ")
    assert "\n" not in str(caught.value)


def test_all_faults_of_a_file_are_told_at_once():
    """One line names every table's faults, each once, with the near name of what is misspelt."""
    faults = (
        ("horizon = 5", 'horizn = 5\nvalidation = "long"'),
        ('role = "legacy"', 'role = "legasy"'),
        ('baseline = "a"', 'baseline = "a"\nalpa = 0.1'),
        ('metric = "mae"', 'metric = "MEA"'),
        ("[plan]", "[run]\nseeds = [1, 1]\nbatch = 0\n[plan]"),
    )

    with pytest.raises(ConfigError) as caught:
        parse(*faults)

    said = str(caught.value)
    words = ["'horizon'?", "validation = 'long'", "'legacy'?", "'alpha'?", "'mae'?"]
    assert [word for word in [*words, "each seed once", "batch = 0"] if word not in said] == []
    assert said.count("folder/some.toml") == 1
    assert "\n" not in said


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\xef\xbb\xbf" + BASE.encode(), ""),
        (BASE.replace("\n", "\r\n").encode(), ""),
        (BASE.encode("utf-16"), "UTF-16; save it as UTF-8"),
        (b"title = 'x'\nbad = '\xe4'", "line 2: byte 0xe4 is not UTF-8"),
        (b"", "missing keys 'datasets', 'plan', 'arms', 'policy'"),
        (b"datasets = [GOLD]", "at line 1, column 13): datasets = [GOLD"),
        (None, "Is a directory; expected a file"),
    ],
)
def test_any_file_is_read_or_named(tmp_path, raw, words):
    """A mark in front and other line ends are read; another encoding or a folder is named."""
    file = tmp_path / "some.toml"
    file.mkdir() if raw is None else file.write_bytes(raw)

    if not words:
        assert read_experiment(str(file)).plans["GOLD"].horizon == 5
        return
    with pytest.raises(ConfigError) as caught:
        read_experiment(str(file))
    assert words in str(caught.value)


def test_roles_that_do_not_fit_the_pair_are_said():
    """A candidate in the place of the baseline, or the other way round, is not taken silently."""
    swapped = (('baseline = "a"', 'baseline = "b"'), ('candidate = "b"', 'candidate = "a"'))

    assert parse().odd_roles == ""
    assert parse(('"legacy"', '"candidate"')).odd_roles == "baseline = 'a' has the role candidate"
    assert parse(*swapped).odd_roles == (
        "baseline = 'b' has the role candidate and candidate = 'a' has the role legacy: swapped? "
        "It is judged as the policy says"
    )


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (RollingOrigin, {"horizon": 1, "stride": 1, "origins": 1}),
        (RunSettings, {}),
        (Criterion, {"metric": "mae"}),
        (CoverageRule, {"level": 80, "tolerance": 0.1}),
        (Limits, {}),
    ],
)
def test_every_table_refuses_an_unknown_key(kind, found):
    """No dataclass that a file is read into takes a key it does not know."""
    assert isinstance(table(kind, found, where="x.toml: [t]"), kind)

    with pytest.raises(ConfigError, match=r"x\.toml: \[t\]: unknown key 'typo'; known keys are"):
        table(kind, found | {"typo": 1}, where="x.toml: [t]")


def test_policy_refuses_an_unknown_key():
    """The policy's own table does neither."""
    found = {"baseline": "a", "candidate": "b", "criteria": [{"metric": "mae"}]}
    assert isinstance(parse_policy(found, arms=["a", "b"]), Policy)

    with pytest.raises(ConfigError, match="unknown key 'typo'"):
        parse_policy(found | {"typo": 1}, arms=["a", "b"])


@pytest.mark.parametrize("where", ["", "[columns]"])
def test_manifest_refuses_an_unknown_key(tmp_path, where):
    """Neither the manifest nor its table of columns does."""
    text = load("GOLD").path.with_suffix(".toml").read_text(encoding="utf-8")
    file = tmp_path / "GOLD.toml"
    mark = where or "schema = 1"
    file.write_text(text.replace(mark, f"{mark}\ntypo = 1"), encoding="utf-8")

    with pytest.raises(DataError, match="typo"):
        read_manifest(file)


def builtin_arms():
    refs = {}
    for name in builtin_names():
        refs |= {(ref.use, str(ref.options)): ref for ref in read_experiment(name).arms}
    return list(refs.values())


@pytest.mark.parametrize("ref", builtin_arms(), ids=lambda ref: ref.name)
def test_every_arm_refuses_an_unknown_option(ref):
    """An arm takes the options it has, and names them when asked for another."""
    assert isinstance(ref, ArmRef)
    assert ref.build().context_length is None or ref.build().context_length > 0

    with pytest.raises(ArmError, match=r"'typo'.*known options are"):
        dataclasses.replace(ref, options={**ref.options, "typo": 1}).build()


@pytest.mark.parametrize("name", ["quick", "nightly"])
def test_builtin_experiment_fits_its_data(name):
    """The built-in experiments are whole, and their windows exist."""
    found = read_experiment(name)

    assert found.datasets == ("DOW_JONES", "GOLD")
    assert {arm.role for arm in found.arms} == {"legacy", "candidate", "reference"}
    for dataset, plan in found.plans.items():
        windows = split(load(dataset), plan).windows
        assert windows.horizon == 24
        assert len(windows) == (plan.origins or 250)
    legacy = found.arm(found.policy.baseline).build()
    assert found.arm(found.policy.baseline).role == "legacy"
    assert found.arm(found.policy.candidate).role == "candidate"
    assert legacy.seq_len == 96
    assert (legacy.label_len, legacy.d_model) == (48, 64)
    assert {arm.options["context"] for arm in found.arms if arm.role == "candidate"} == {96, 512}


@pytest.mark.slow
def test_quick_origins_do_not_overlap():
    """`quick` has 48 origins and more per dataset that share no session, and two seeds."""
    found = read_experiment("quick")

    assert len(found.run.seeds) == 2
    for dataset, plan in found.plans.items():
        windows = split(load(dataset), plan).windows
        assert len(windows) >= 48
        assert np.diff(windows.origin).min() >= windows.horizon


def test_nightly_names_its_first_origins_by_date():
    """Longer data add origins at the end and move none."""
    plans = read_experiment("nightly").plans
    first = {name: plan.over(load(name).series.dates).origin[0] for name, plan in plans.items()}

    starts = {name: (plan.first, plan.origins) for name, plan in plans.items()}
    assert starts == {"DOW_JONES": ("2011-12-02", None), "GOLD": ("2001-06-15", None)}
    assert first == {"DOW_JONES": 8055, "GOLD": 6120}


def test_nightly_is_the_full_grid():
    """`nightly` has 250 overlapping origins per dataset and more, five seeds, and refits."""
    found = read_experiment("nightly")

    assert len(found.run.seeds) >= 5
    for dataset, plan in found.plans.items():
        windows = split(load(dataset), plan).windows
        assert len(windows) >= 250
        assert plan.stride < plan.horizon
        assert len(list(windows.segments())) > 1


def test_builtin_names_are_listed():
    """The experiments that ship are found wherever the package lies."""
    assert builtin_names() == ["nightly", "quick"]


def edited(*settings, without=(), text=BASE, folder=Path("folder")):
    edits = Edits(settings=settings, without=without)
    return parse_experiment(text, source="folder/some.toml", folder=folder, edits=edits)


def test_flags_change_settings_before_they_are_read():
    """A setting is what a flag says, of its own type; an arm can be left out; the text says so."""
    found = edited(
        "plan.origins=20",
        "plan.GOLD.stride=7",
        "run.seeds=[1, 2]",
        "policy.hold_as=pass",
        "policy.limits.failures=3",
        "arms.a.b.deep=[1]",
        without=["c"],
        text=BASE.replace(
            "[policy]",
            '[[arms]]\nname = "a.b"\nuse = "m:C"\nrole = "legacy"\n[[arms]]\nname = "c"\n'
            'use = "m:C"\nrole = "reference"\n[policy]',
        ),
    )

    assert (found.plans["GOLD"].origins, found.plans["GOLD"].stride) == (20, 7)
    assert found.plans["DOW_JONES"].stride == 5
    assert (found.run.seeds, found.policy.hold_as, found.policy.limits.failures) == (
        (1, 2), "pass", 3,
    )  # fmt: skip
    assert [arm.name for arm in found.arms] == ["a", "b", "a.b"]
    assert found.arm("a.b").options == {"deep": [1]}
    assert found.text.endswith("'arms.a.b.deep=[1]' --without c\n")


def test_flags_reach_a_policy_in_a_file_of_its_own(tmp_path):
    """A policy that lies beside the experiment is changed by flags like one in it."""
    own, _, policy = BASE.partition("[policy]\n")
    (tmp_path / "policy.toml").write_text(policy.replace("[[policy.criteria]]", "[[criteria]]"))

    found = edited("policy.alpha=0.01", text='policy = "policy.toml"\n' + own, folder=tmp_path)

    assert found.policy.alpha == 0.01


@pytest.mark.parametrize(
    ("settings", "without", "said"),
    [
        (["plan.origins"], [], "--set 'plan.origins': expected KEY=VALUE such as plan.origins=100"),
        (["=3"], [], "expected KEY=VALUE"),
        (["origins=3"], [], "expected KEY=VALUE"),
        (["plan.orignis=3"], [], "unknown key 'orignis'"),
        (["plan.origins=many"], [], "origins = 'many': expected a valid integer"),
        (["plans.origins=3"], [], "unknown key 'plans'"),
        (["arms.c.size=3"], [], "no such arm; expected arms.NAME.OPTION=VALUE with one of a, b"),
        (["policy.baseline.x=3"], [], "baseline of folder/some.toml is not a table"),
        ([], ["c"], "--without 'c': no such arm in folder/some.toml; there are a, b"),
        ([], ["a"], "a"),
    ],
)
def test_flags_that_name_nothing_are_refused(settings, without, said):
    """A key that is not there, a value of another type and an arm nobody has are named."""
    with pytest.raises(ConfigError) as caught:
        edited(*settings, without=without)

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
