"""The verb `shim`: the replacement under its own name in a checkout's `models/`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.errors import ConfigError
from harness.verbs.common import say, verb

_MODULES = {
    "HFBayesianAutoformer": "candidates.replacement.hf_bayesian",
    "HFQuantileAutoformer": "candidates.replacement.hf_quantile",
    "HFHierarchicalAutoformer": "candidates.replacement.hf_hierarchical",
}
_LINE = "from {module} import {name}, Model  # noqa: F401  (abharness shim)\n"


@verb("abharness shim Time-Series-Library")
def shim(
    checkout: Annotated[
        Path, typer.Argument(metavar="DIR", help="A checkout, the folder that has models/.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> None:
    """Let a checkout's scripts import the replacement.

    Writes a file of one line into its `models/` for each replacement network. Then
    `from models.HFBayesianAutoformer import HFBayesianAutoformer` works as for its own networks,
    and so does `--model` where the script has a table of modules. Nothing else in the checkout is
    touched.
    """
    models = checkout / "models"
    if not models.is_dir():
        raise ConfigError(f"{checkout} has no folder 'models', so it is not a checkout")
    texts = {
        models / f"{name}.py": _LINE.format(module=module, name=name)
        for name, module in _MODULES.items()
    }
    taken = [
        str(file)
        for file, text in texts.items()
        if file.exists() and file.read_text(encoding="utf-8", errors="replace") != text
    ]
    if taken and not force:
        raise ConfigError(f"{', '.join(taken)}: exists already; --force overwrites it")
    for file, text in texts.items():
        file.write_text(text, encoding="utf-8")
        say(f"wrote {file}: {text.partition('  #')[0]}")
