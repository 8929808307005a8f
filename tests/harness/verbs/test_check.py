"""The verb `abharness check`."""

import importlib.util
import json
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from harness.checks import network_subject, read_checks
from harness.cli import run_cli
from harness.errors import ArmError
from harness.running.store_folder import open_store

SMALL = ["--option", "config.d_model=16", "--option", "config.n_heads=2"]
NETWORKS = """\
from torch import nn

class Line(nn.Module):
    def __init__(self, configs, scale=1.0):
        super().__init__()
        self.map = nn.Linear(configs.seq_len, configs.pred_len)

    def path(self, x_enc):
        return self.map(x_enc.transpose(1, 2)).transpose(1, 2)

    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec, mask=None):
        return self.path(x_enc)

class Pair(Line):
    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec, mask=None):
        return self.path(x_enc), [None]

class Dict(Line):
    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec, mask=None):
        return {"prediction": self.path(x_enc), "mask": None}

class Changing(Line):
    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec, mask=None):
        path = self.path(x_enc)
        return path if mask is None else {"prediction": path}

class Cuda(Line):
    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec, mask=None):
        return self.cuda().path(x_enc.cuda())

class Four(Line):
    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec):
        return self.path(x_enc)
"""


def test_failure_is_a_result_unless_required(capsys):
    """A failing predicate ends in 0, and in 3 when it is required."""
    plain = run_cli(["check", "Autoformer", *SMALL, "--only", "T2"])
    printed = capsys.readouterr().out
    required = run_cli(["check", "Autoformer", *SMALL, "--only", "T2", "--require", "T2"])

    assert (plain, required) == (0, 3)
    assert "T2    FAIL" in printed


def test_repaired_network_meets_the_requirement(capsys):
    """The switch that repairs a defect turns its predicate to pass."""
    required = ["--only", "T2", "--require", "all"]
    code = run_cli(["check", "Autoformer", *SMALL, "--option", "repaired=true", *required])

    assert code == 0
    assert "T2    pass" in capsys.readouterr().out


def test_arm_of_an_experiment_is_checked_by_name(capsys):
    """An arm is found in the experiment and tried as an arm; results come as JSON."""
    code = run_cli(["check", "random-walk", "--only", "T34", "--format", "json"])

    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert "pass" in json.dumps(found)


def test_results_come_as_junit(capsys):
    """JUnit output is XML with a case for the predicate."""
    run_cli(["check", "Autoformer", *SMALL, "--only", "T9", "--format", "junit"])

    tree = ElementTree.fromstring(capsys.readouterr().out)
    assert len(list(tree.iter("testcase"))) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "Nobody"], "unknown 'Nobody'"),
        (["check", "Autoformer", "--only", "T99"], "T99"),
        (["check", "Autoformer", "--option", "repaired"], "expected KEY=VALUE"),
        (["check", "Autoformer", "--option", "colour=1"], "colour"),
        (["check", "nowhere:Class"], "nowhere"),
        (["check", "random-walk", "--option", "colour=1"], "colour"),
    ],
)
def test_wrong_input_is_one_line(capsys, arguments, words):
    """What cannot be tried ends in 2 with one line that names it."""
    code = run_cli(arguments)

    printed = capsys.readouterr()
    assert code == 2
    assert words in printed.err
    assert len(printed.err.splitlines()) == 1


@pytest.mark.parametrize("name", ["Arm", "Network"])
def test_missing_weights_are_one_line(tmp_path, monkeypatch, capsys, name):
    """An arm, or a network, whose weights are not there ends in 2, not in an error a question."""
    source = """\
from torch.nn import Module
from harness.errors import ArmError

class Arm:
    context_length = 1
    def load(self):
        raise ArmError("no weights at all")
    def forecast(self, contexts):
        return None

class Network(Module):
    def __init__(self, config):
        print("looking for them")
        raise ArmError("no weights at all")
    def forward(self, x):
        return x
"""
    (tmp_path / "weightless.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)

    code = run_cli(["check", f"weightless:{name}"])

    printed = capsys.readouterr()
    assert (code, printed.out) == (2, "")
    assert printed.err.splitlines() == ["abharness: no weights at all"]


@pytest.mark.parametrize("place", ["__init__", "forward"])
def test_a_network_that_quits_is_a_result(tmp_path, monkeypatch, capsys, place):
    """A network that calls `sys.exit` ends no command: its questions end in errors that say so."""
    module = f"quitting_{place.strip('_')}"
    source = "from torch.nn import Module\n\n\nclass Network(Module):\n"
    (tmp_path / f"{module}.py").write_text(
        f"{source}    def {place}(self, *_, **__):\n        raise SystemExit(0)\n"
        + ("" if place == "forward" else "    def forward(self, x):\n        return x\n")
        + ("    def __init__(self, _):\n        super().__init__()\n" if place == "forward" else "")
    )
    monkeypatch.syspath_prepend(tmp_path)

    code = run_cli(["check", f"{module}:Network", "--only", "T2", "--require", "all"])

    out = capsys.readouterr().out
    assert code == 3
    assert "asks to end the program: sys.exit(0)" in " ".join(out.split())


def test_a_factory_that_quits_is_one_line(tmp_path, monkeypatch):
    """A module of networks that ends the program when it is imported is wrong input."""
    (tmp_path / "quitting_factory.py").write_text("raise SystemExit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ArmError, match="asks to end the program"):
        network_subject("quitting_factory:build", "any")


def test_results_are_kept_in_the_store(tmp_path, capsys):
    """`--store` keeps the results under the side of the target, for later readers."""
    store = tmp_path / "runs"
    run_cli(["check", "Autoformer", *SMALL, "--only", "T2", "--store", str(store)])
    run_cli(["check", "random-walk", "--only", "T34", "--store", str(store)])

    network, arm = read_checks(open_store(store))
    assert (network.target, network.kind, network.role) == ("Autoformer", "network", "legacy")
    assert network.failing == ("T2",)
    assert network.options == {"config.d_model": 16, "config.n_heads": 2}
    assert (arm.target, arm.kind, arm.role) == ("random-walk", "arm", "reference")


def test_nothing_is_written_without_a_store(tmp_path, monkeypatch):
    """A trial leaves no files where nobody asked for them."""
    monkeypatch.chdir(tmp_path)
    run_cli(["check", "random-walk", "--only", "T34"])

    assert list(tmp_path.iterdir()) == []


def test_arm_is_tried_instead_of_the_network_of_its_name(capsys):
    """`--as arm` asks the arm of an experiment that a network shares its name with."""
    run_cli(["check", "Autoformer", "--as", "arm", "--only", "T3", "--format", "json"])

    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert (result["outcome"], "this is an arm" in result["reason"]) == ("not applicable", True)


def test_user_module_has_the_side_it_is_given(tmp_path, monkeypatch):
    """The side of a user's class is what `--role` says."""
    (tmp_path / "my_walk.py").write_text("from baselines.random_walk import RandomWalk\n")
    monkeypatch.syspath_prepend(tmp_path)
    store = tmp_path / "runs"
    target = ["check", "my_walk:RandomWalk", "--only", "T34", "--store", str(store)]
    run_cli([*target, "--role", "candidate"])

    (found,) = read_checks(open_store(store))
    assert found.role == "candidate"


@pytest.fixture
def user_classes(tmp_path, monkeypatch):
    """A user's file with networks, importable for the test."""
    (tmp_path / "their_networks.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(tmp_path)
    yield "their_networks"
    sys.modules.pop("their_networks", None)


@pytest.mark.parametrize("target", ["their_networks:Line", "Autoformer"])
@pytest.mark.parametrize("option", ["config", "zzz"])
def test_option_that_nothing_takes_is_wrong_input(capsys, user_classes, target, option):
    """An option without an argument for it is named in one line, of a class or a factory."""
    code = run_cli(["check", target, "--option", f"{option}=3", "--only", "T5"])

    printed = capsys.readouterr()
    assert (code, printed.out) == (2, "")
    assert f"unknown option {option}" in printed.err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Line", ""),
        ("Pair", ""),
        ("Dict", ""),
        ("Changing", "changes what is returned"),
        ("Four", "a mask in the fifth place: TypeError"),
    ],
)
def test_answer_under_a_mask_has_the_form_of_the_plain_one(capsys, user_classes, name, said):
    """A tuple or a dict is no departure (T27); another form than without the mask is."""
    run_cli(["check", f"{user_classes}:{name}", "--only", "T27", "--format", "json"])

    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["outcome"] == ("fail" if said else "pass")
    assert said in result["reason"]


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """A user's file in the current folder, which is on no import path, beside a data folder."""
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here_only.py").write_text(NETWORKS)
    (tmp_path / "no_package").mkdir()
    (tmp_path / "data_only").mkdir()
    yield
    sys.modules.pop("here_only", None)


def test_class_is_found_in_the_current_folder(beside, capsys):
    """`module:Class` may lie where the command is run; folders without code stay invisible."""
    path = list(sys.path)
    code = run_cli(["check", "here_only:Line", "--only", "T31"])

    assert code == 0
    assert "T31   pass" in capsys.readouterr().out
    assert sys.path == path
    assert importlib.util.find_spec("data_only") is None


@pytest.mark.parametrize(
    ("target", "hint"), [("nowhere_at_all:Net", ""), ("no_package:Net", "has no __init__.py")]
)
def test_module_that_is_nowhere_names_the_folder(beside, tmp_path, capsys, target, hint):
    """The error says where a module was looked for, and what a folder lacks."""
    code = run_cli(["check", target])

    said = capsys.readouterr().err
    assert code == 2
    assert f"neither installed nor in {tmp_path}" in said
    assert hint in said
    assert said.count("\n") == 1


def test_cuda_calls_of_a_network_stay_on_the_cpu(user_classes, capsys):
    """A network that calls `.cuda()` while it forecasts is tried where its inputs are."""
    codes = [part for code in ("T18", "T26", "T31") for part in ("--only", code)]
    code = run_cli(["check", f"{user_classes}:Cuda", *codes, "--require", "all"])

    assert code == 0
    assert "3 pass" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--only", "--require"])
def test_unknown_code_is_refused_before_anything_runs(user_classes, capsys, option):
    """A code that is none is wrong input, whichever option names it."""
    code = run_cli(["check", f"{user_classes}:Line", option, "T99"])

    printed = capsys.readouterr()
    assert (code, printed.out) == (2, "")
    assert "unknown predicate T99; known are T1, T2" in printed.err


@pytest.mark.parametrize(
    ("only", "wanted", "code"),
    [
        (["T31"], ["all", "T31"], 0),
        (["T31", "T9"], ["all", "T31"], 3),
        (["T31", "T9"], ["T31"], 0),
        (["T31"], ["all", "T5"], 3),
    ],
)
def test_all_and_a_code_may_both_be_required(user_classes, only, wanted, code):
    """With `all` nothing may fail; a code beside it must have passed as well."""
    arguments = [part for each in only for part in ("--only", each)]
    arguments += [part for each in wanted for part in ("--require", each)]

    assert run_cli(["check", f"{user_classes}:Line", *arguments]) == code


@pytest.mark.parametrize("text", ["true", "True"])
def test_switch_may_be_written_as_the_tables_show_it(capsys, text):
    """`repaired=True` is what results print; both spellings are the same."""
    arguments = ["--option", f"repaired={text}", "--only", "T2", "--require", "T2"]

    assert run_cli(["check", "Autoformer", *SMALL, *arguments]) == 0


def test_switch_that_the_network_does_not_read_is_noted(capsys):
    """A repair of other networks is no error, but nobody should take it for one of this."""
    run_cli(["check", "Autoformer", *SMALL, "--option", "all_bands=true", "--only", "T2"])
    unread = capsys.readouterr().err
    run_cli(["check", "Autoformer", *SMALL, "--option", "newest_keys=true", "--only", "T2"])

    assert unread == "note: Autoformer does not read all_bands: setting it changes nothing\n"
    assert capsys.readouterr().err == ""
