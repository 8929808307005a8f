"""Stored weights of somebody else's network: read without running anything, and put in whole."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import ArmError

CONTAINERS = ("state_dict", "model_state_dict", "model")
"""Where a state dict may lie in a dict."""

CONVERT = (
    "import torch; d = torch.load('{name}', 'cpu', weights_only=False); "
    "d = next((d[k] for k in ('state_dict', 'model_state_dict', 'model') "
    "if isinstance(d, dict) and k in d), d); d = getattr(d, 'state_dict', lambda: d)(); "
    "torch.save({{k: torch.as_tensor(v) for k, v in d.items()}}, 'weights.pth')"
)
"""Python that takes the weights out of a file that is trusted, whatever holds them."""


def read_weights(path: Path) -> dict[str, Any]:
    """Read a state dict without running anything the file says.

    It may lie inside a dict under `state_dict`, `model_state_dict` or `model`, and its names may
    start with `module.`.

    Raises
    ------
    ArmError
        When the file is not plain weights, or hold NaN.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    found: Any
    if path.suffix == ".safetensors":
        try:
            found = load_file(path)
        except (OSError, SafetensorError) as problem:
            raise ArmError(f"checkpoint '{path.name}' cannot be read: {problem}") from problem
    else:
        found = _unpickled(path)
    for key in CONTAINERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not found:
        raise ArmError(f"checkpoint '{path.name}' holds no state dict")
    odd = [str(name) for name, value in found.items() if not isinstance(value, torch.Tensor)]
    if odd:
        raise ArmError(
            f"checkpoint '{path.name}': {some(odd)} are no tensors; expected a state dict, alone "
            f"or under {', '.join(CONTAINERS)}"
        )
    nameless = [repr(name) for name in found if not isinstance(name, str)]
    if nameless:
        raise ArmError(
            f"checkpoint '{path.name}': {some(nameless)} are no names of weights; expected texts"
        )
    broken = [name for name, value in found.items() if bool(torch.isnan(value).any())]
    if broken:
        raise ArmError(
            f"checkpoint '{path.name}': {len(broken)} of {len(found)} tensors hold NaN: "
            f"{some(broken)}; its training diverged"
        )
    wrapped = all(name.startswith("module.") for name in found)
    return {name.removeprefix("module.") if wrapped else name: v for name, v in found.items()}


def put_weights(network: Any, weights: Mapping[str, Any], *, label: str) -> None:
    """Load a state dict, whole.

    Raises
    ------
    ArmError
        Names what is missing, unexpected or of another shape.
    """
    wanted = network.state_dict()
    shared = [name for name in wanted if name in weights]
    problems = {
        "missing": [name for name in wanted if name not in weights],
        "unexpected": [name for name in weights if name not in wanted],
        "of another shape": [
            f"{name} {list(weights[name].shape)} for {list(wanted[name].shape)}"
            for name in shared
            if weights[name].shape != wanted[name].shape
        ],
    }
    if any(problems.values()):
        text = "; ".join(f"{what}: {some(names)}" for what, names in problems.items() if names)
        raise ArmError(f"checkpoint '{label}' does not fit the network; {text}")
    network.load_state_dict(weights)


def _unpickled(path: Path) -> Any:
    """Load a file of torch.save; refuse by its first bytes what holds no weights, or a program."""
    import torch

    with path.open("rb") as stream:
        start = stream.read(40)
    if not start:
        raise ArmError(f"checkpoint '{path.name}' is empty")
    if start.startswith(b"version https://git-lfs"):
        raise ArmError(
            f"checkpoint '{path.name}' is a pointer of Git LFS: 'git lfs pull' fetches it"
        )
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            program = any("/code/" in name for name in archive.namelist())
        if program:
            raise ArmError(
                f"checkpoint '{path.name}' is a TorchScript archive, a program with its weights; "
                f"take these out once: torch.save(torch.jit.load('{path.name}').state_dict(), "
                "'weights.pth')"
            )
    elif not start.startswith((b"PK", pickle.PROTO)):  # a zip that is torn is read
        raise ArmError(
            f"checkpoint '{path.name}' cannot be read: it is no file of torch.save; expected "
            "one, or .safetensors"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as problem:
        raise ArmError(
            f"checkpoint '{path.name}' is refused: it holds more than weights, and such a pickle "
            "can run any code when it is loaded. If you trust it, convert it once, where it comes "
            f'from: python -c "{CONVERT.format(name=path.name)}"'
        ) from problem
    except (OSError, EOFError, RuntimeError, ValueError, LookupError) as problem:
        said = " ".join(str(problem).split()).partition(". ")[0] or type(problem).__name__
        raise ArmError(f"checkpoint '{path.name}' cannot be read: {said}") from problem


def some(names: Sequence[str]) -> str:
    """The first five of many names."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
