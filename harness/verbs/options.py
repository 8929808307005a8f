"""The command line's arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.errors import ConfigError

ExperimentArg = Annotated[
    str, typer.Argument(help="A TOML file, or a built-in experiment: quick, nightly.")
]
StoreOption = Annotated[
    Path, typer.Option("--store", envvar="ABHARNESS_STORE", help="Folder of all results.")
]
DataDirOption = Annotated[
    list[Path],
    typer.Option(
        "--data-dir",
        metavar="FOLDER",
        envvar="ABHARNESS_DATA_DIR",
        help="More folders of datasets; may be given several times.",
    ),
]
WorkersOption = Annotated[
    int, typer.Option(envvar="ABHARNESS_WORKERS", min=0, help="Units at a time; 0: as cores allow.")
]
OnlyOption = Annotated[
    list[str],
    typer.Option(
        metavar="PATTERN",
        help="Only cells whose arm, dataset or arm/dataset/seed matches; * is allowed.",
    ),
]
SeedsOption = Annotated[
    str | None, typer.Option(help="Other seeds than the experiment's, such as 1,2,3.")
]
ShardOption = Annotated[
    str | None, typer.Option(help="Part i of n of the grid, such as 2/4, for CI matrices.")
]
RetryOption = Annotated[
    bool, typer.Option("--retry-failed", help="Run units with failed windows again.")
]
HoldAsOption = Annotated[
    Literal["fail", "pass"] | None,
    typer.Option(help="Exit code of HOLD: fail is 4, pass is 0; left out, as the policy says."),
]
PolicyOption = Annotated[
    Path | None,
    typer.Option("--policy", metavar="FILE", help="Judge by this policy, not the experiment's."),
]
DateOption = Annotated[
    str | None,
    typer.Option("--date", metavar="DATE", help="Day that waivers are held against; today."),
]
BaselineOption = Annotated[
    str | None, typer.Option("--baseline-arm", help="Judge against this arm.")
]
CandidateOption = Annotated[str | None, typer.Option("--candidate-arm", help="Judge this arm.")]

RecordsOption = Annotated[
    Path | None,
    typer.Option("--records", metavar="FOLDER", help="Copy the records here, for a CI system."),
]


def seed_numbers(text: str) -> list[int]:
    """Read the option `--seeds`.

    Raises
    ------
    ConfigError
        When it is no list of whole numbers.
    """
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--seeds '{text}': expected whole numbers such as 1,2,3") from None
    return found
