"""Stored weights: what is refused, and how what is trusted is made readable."""

import argparse
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from baselines.weights import read_weights
from harness.errors import ArmError

GUIDE = Path(__file__).parents[2] / "docs" / "your-own-legacy-code.md"


def network():
    """A network whose weights are known."""
    made = nn.Linear(2, 1)
    with torch.no_grad():
        made.weight.copy_(torch.tensor([[1.0, 2.0]]))
        made.bias.fill_(3.0)
    return made


def arguments_beside():
    return {"state_dict": network().state_dict(), "args": argparse.Namespace(lr=0.1), "epoch": 3}


def numpy_arrays():
    return {name: value.numpy() for name, value in network().state_dict().items()}


KINDS = {
    "arguments beside": arguments_beside,
    "a whole model": network,
    "a whole model in a dict": lambda: {"model": network()},
    "numpy arrays": numpy_arrays,
    "numpy arrays in a dict": lambda: {"model_state_dict": numpy_arrays(), "loss": 0.1},
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(name):
    with pytest.raises(ArmError) as caught:
        read_weights(Path(name))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def are_the_networks(weights):
    """Whether they are the weights of `network`."""
    assert sorted(weights) == ["bias", "weight"]
    assert weights["weight"].tolist() == [[1.0, 2.0]]
    return weights["bias"].tolist() == [3.0]


def snippet():
    """The Python of the guide that converts a file."""
    (found,) = re.findall(r"```python\n(import torch.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_refused_can_be_converted_as_the_guide_says(here, kind):
    """The documented lines make plain weights of every usual kind of unsafe file."""
    torch.save(KINDS[kind](), "checkpoint.pth")

    assert "is refused: it holds more than weights" in refusal("checkpoint.pth")
    exec(snippet(), {})
    assert are_the_networks(read_weights(Path("weights.pth")))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_refused_can_be_converted_as_the_error_says(here, kind):
    """The lines in the error do the same."""
    torch.save(KINDS[kind](), "old.pth")
    _, _, command = refusal("old.pth").partition("from: ")

    python, option, lines = shlex.split(command)
    exec(lines, {})

    assert (python, option) == ("python", "-c")
    assert are_the_networks(read_weights(Path("weights.pth")))


@pytest.mark.slow
def test_command_of_the_error_can_be_pasted_into_a_shell(here):
    """As it stands, and in a process that knows nothing else, it writes the weights."""
    torch.save(KINDS["a whole model"](), "old.pth")
    _, _, command = refusal("old.pth").partition("from: ")

    python, *arguments = shlex.split(command)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

    assert python == "python"
    assert are_the_networks(read_weights(Path("weights.pth")))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*TorchScript archive:UserWarning")
def test_torchscript_is_told_apart(here):
    """An archive of TorchScript is named as one, with a safe way out; the guide's works, too."""
    torch.jit.save(torch.jit.trace(network(), torch.zeros(1, 2)), "checkpoint.pth")
    said = refusal("checkpoint.pth")

    assert "is a TorchScript archive" in said
    assert "weights_only" not in said
    exec(said.partition("once: ")[2], {"torch": torch})
    assert are_the_networks(read_weights(Path("weights.pth")))
    Path("weights.pth").unlink()
    exec(snippet(), {})
    assert are_the_networks(read_weights(Path("weights.pth")))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "checkpoint 'x.pth' is empty"),
        (b"hello", "it is no file of torch.save; expected one, or .safetensors"),
        (b"version https://git-lfs.github.com/spec/v1\n", "'git lfs pull' fetches it"),
        (b"PK\x03\x04torn", "cannot be read: PytorchStreamReader failed"),
    ],
)
def test_file_that_is_no_checkpoint_says_what_it_is(here, content, said):
    """No message is empty, a bare number or advice to load it unsafely."""
    Path("x.pth").write_bytes(content)
    found = refusal("x.pth")

    assert said in found
    assert "weights_only" not in found
    assert len(found) < 200


def test_names_that_are_numbers_are_refused(here):
    """A mapping of numbers to tensors is no state dict, and its keys are named."""
    torch.save({0: torch.zeros(1), 1: torch.zeros(1)}, "x.pth")

    assert refusal("x.pth") == "checkpoint 'x.pth': 0, 1 are no names of weights; expected texts"
