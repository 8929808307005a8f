"""The command line of the recipe: train, evaluate, show."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from candidates.pretraining.evaluation import REFERENCE, TEST_PLAN
from harness.errors import ConfigError, InputError

if TYPE_CHECKING:
    from candidates.pretraining.evaluation import Scores
    from candidates.pretraining.recipe import Recipe
    from candidates.pretraining.training import Trainer

INTERRUPTED = 130

_CommandLineError: Any = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="python -m candidates.pretraining",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Train a small Chronos-Bolt on synthetic series only; score a checkpoint on real prices.",
    epilog="Start with:  python -m candidates.pretraining train toy",
)

RecipeArg = Annotated[str, typer.Argument(help="A TOML file, or a built-in recipe: toy, full.")]


@app.command()
def train(
    recipe: RecipeArg,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run.", show_default="runs/pretraining-RECIPE")
    ] = None,
    device: Annotated[
        str, typer.Option(help="cpu, cuda, or auto: a GPU if there is one.")
    ] = "auto",
    save_every: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Save a state so often.")
    ] = 60.0,
) -> None:
    """Train a recipe; called again after an interruption, go on where it was saved last."""
    from candidates.pretraining.progress import TrainingProgress
    from candidates.pretraining.recipe import read_recipe
    from candidates.pretraining.training import Options
    from candidates.pretraining.training import train as train_recipe

    settings = read_recipe(recipe)
    folder = out or Path("runs") / f"pretraining-{Path(recipe).stem}"
    options = Options(device=_device(device), save_every_s=save_every)
    try:
        trainer = train_recipe(settings, folder, options=options, watch=TrainingProgress())
    except KeyboardInterrupt:
        typer.echo(f"\ninterrupted; the same command goes on from {folder}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    typer.echo(_finish(trainer, settings, folder))


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a checkpoint.")],
    dataset: Annotated[
        list[Path], typer.Option(metavar="FILE", help="Manifest of a dataset; several times.")
    ],
    sessions: Annotated[
        list[int] | None,
        typer.Option(
            min=0,
            help="Sessions before the test to forecast, 0 is all of them; several times.",
            show_default=str(TEST_PLAN.validation),
        ),
    ] = None,
    stride: Annotated[int, typer.Option(min=1, help="Sessions between origins.")] = 5,
    reference: Annotated[
        str, typer.Option(metavar="MODULE:CLASS", help="Arm to measure against.")
    ] = REFERENCE,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    card: Annotated[
        bool, typer.Option("--card", help="Put the figures into the checkpoint's README.md.")
    ] = False,
) -> None:
    """Score a checkpoint on the sessions before the test, beside a reference."""
    from candidates.pretraining import evaluation

    known = [evaluation.read_series(manifest) for manifest in dataset]
    arm, other = evaluation.load_checkpoint(checkpoint), evaluation.load_reference(reference)
    spans = [
        evaluation.Span(sessions=count or None, stride=stride)
        for count in sessions or [TEST_PLAN.validation]
    ]
    scores = [
        evaluation.evaluate(arm, other, series=series, name=name, span=span)
        for span in spans
        for name, series in known
    ]
    if card:
        from candidates.pretraining.card import put_figures

        put_figures(checkpoint, scores, reference=reference, command=_command())
    typer.echo(_json(scores) if as_json else evaluation.markdown(scores))


@app.command()
def show(recipe: RecipeArg) -> None:
    """Print every setting of a recipe."""
    from candidates.pretraining.recipe import as_settings, read_recipe

    typer.echo(json.dumps(as_settings(read_recipe(recipe)), indent=1))


def run_command(arguments: list[str]) -> int:
    """Run the command line and return its exit code: 0 done, 2 wrong input, 130 interrupted."""
    try:
        code = app(arguments, standalone_mode=False)
    except _CommandLineError as problem:
        problem.show()
        return 2
    except InputError as problem:
        typer.echo(f"error: {problem}", err=True)
        return 2
    return code if isinstance(code, int) else 0


def _finish(trainer: Trainer, recipe: Recipe, folder: Path) -> str:
    """Export the averaged weights with record and card; say where they are."""
    from importlib.metadata import version

    from candidates.pretraining import checkpoint
    from candidates.pretraining.card import write_card
    from candidates.pretraining.network import parameter_count
    from candidates.pretraining.recipe import as_settings

    facts = {
        "recipe": as_settings(recipe),
        "parameters": parameter_count(trainer.network),
        "device": trainer.device,
        "seconds": trainer.seconds,
        "versions": {
            name: version(name) for name in ("torch", "transformers", "chronos-forecasting")
        },
        "curve": trainer.curve,
    }
    target = checkpoint.export(trainer.averaged(), folder)
    write_card(target, recipe, facts=facts)
    checkpoint.write_record(folder, facts)
    return f"{recipe.training.steps:,} steps in {trainer.seconds:.0f} s; checkpoint in {target}"


def _device(asked: str) -> str:
    import torch

    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"--device {asked}: there is no such device here; expected cpu or auto")
    try:
        return str(torch.device(asked))
    except RuntimeError:
        raise ConfigError(f"--device {asked}: expected cpu, cuda, cuda:0 or auto") from None


def _json(scores: list[Scores]) -> str:
    import dataclasses

    return json.dumps([dataclasses.asdict(each) for each in scores], indent=1)


def _command() -> str:
    import shlex

    return shlex.join(["python", "-m", "candidates.pretraining", *sys.argv[1:]])
