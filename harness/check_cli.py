"""The command line's verb `check`: one arm or network on trial."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import typer

from harness.errors import ConfigError

NETWORKS = (
    "Autoformer",
    "EnhancedAutoformer",
    "BayesianEnhancedAutoformer",
    "HierarchicalEnhancedAutoformer",
    "QuantileBayesianAutoformer",
)
_FACTORY = "baselines:build"


def check(
    target: Annotated[
        str,
        typer.Argument(
            metavar="ARM", help="A legacy network, an arm of --experiment, or module:Class."
        ),
    ],
    experiment: Annotated[str, typer.Option(help="Where to look for arms by name.")] = "nightly",
    option: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=VALUE",
            help="Option of the arm or network, such as repaired=true or config.d_model=32.",
        ),
    ] = [],  # noqa: B006  # typer copies defaults
    only: Annotated[
        list[str], typer.Option(metavar="CODE", help="Only these predicates, such as T1.")
    ] = [],  # noqa: B006
    require: Annotated[
        list[str],
        typer.Option(metavar="CODE", help="End with 3 unless these pass; 'all': if any fails."),
    ] = [],  # noqa: B006
    form: Annotated[
        Literal["table", "json", "junit"], typer.Option("--format", help="How to write results.")
    ] = "table",
) -> None:
    """Try every predicate of the battery on one arm or network.

    A failure is a result, not an error: the exit code is 0 unless --require says otherwise.
    """
    from harness.battery import check as carry_out
    from harness.battery import make_resolver
    from harness.experiment import read_experiment

    arms = {ref.name: ref for ref in read_experiment(experiment).arms}
    text, code = carry_out(
        target,
        dict(map(_pair, option)),
        require=True if require == ["all"] else require or False,
        form=form,
        codes=only or None,
        resolver=make_resolver(arms=arms, factory=_FACTORY, networks=NETWORKS),
    )
    typer.echo(text, nl=False)
    raise typer.Exit(code)


def _pair(text: str) -> tuple[str, Any]:
    """Read KEY=VALUE; the value is JSON where it can be, otherwise a text."""
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise ConfigError(f"--option '{text}': expected KEY=VALUE, such as repaired=true")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
