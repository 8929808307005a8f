"""The command line of the recipe: train, evaluate, show; with progress and the model card."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from candidates.pretraining.evaluation import REFERENCE, TEST_PLAN, Scores, markdown
from candidates.pretraining.recipe import PretrainingRecipe
from harness.errors import ArmError, ConfigError, InputError

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
    from importlib.metadata import version

    from candidates.pretraining.checkpoint import export, write_record
    from candidates.pretraining.optimise import TrainingOptions, parameter_count
    from candidates.pretraining.optimise import train as train_recipe
    from candidates.pretraining.recipe import as_settings, read_recipe

    settings = read_recipe(recipe)
    folder = out or Path("runs") / f"pretraining-{Path(recipe).stem}"
    options = TrainingOptions(device=_device(device), save_every_s=save_every)
    try:
        trainer = train_recipe(settings, folder, options=options, watch=TrainingProgress())
    except KeyboardInterrupt:
        typer.echo(f"\ninterrupted; the same command goes on from {folder}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    facts = {
        "recipe": as_settings(settings),
        "parameters": parameter_count(trainer.network),
        "device": trainer.device,
        "seconds": trainer.seconds,
        "versions": {
            name: version(name) for name in ("torch", "transformers", "chronos-forecasting")
        },
        "curve": trainer.curve,
    }
    target = export(trainer.averaged(), folder)
    write_card(target, settings, facts=facts)
    write_record(folder, facts)
    steps, seconds = settings.training.steps, trainer.seconds
    typer.echo(f"{steps:,} steps in {seconds:.0f} s; checkpoint in {target}")


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
    import dataclasses

    from candidates.pretraining import evaluation

    known = [evaluation.read_series(manifest) for manifest in dataset]
    arm, other = evaluation.load_checkpoint(checkpoint), evaluation.load_reference(reference)
    spans = [
        evaluation.ValidationSpan(sessions=count or None, stride=stride)
        for count in sessions or [TEST_PLAN.validation]
    ]
    scores = [
        evaluation.evaluate(arm, other, series=series, name=name, span=span)
        for span in spans
        for name, series in known
    ]
    if card:
        import shlex

        command = shlex.join(["python", "-m", "candidates.pretraining", *sys.argv[1:]])
        put_figures(checkpoint, scores, reference=reference, command=command)
    rows = [dataclasses.asdict(each) for each in scores]
    typer.echo(json.dumps(rows, indent=1) if as_json else evaluation.markdown(scores))


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


START, END = "<!-- figures: made by evaluate -->", "<!-- end of figures -->"
"""What `evaluate --card` writes stands between these lines."""


def write_card(checkpoint: Path, recipe: PretrainingRecipe, *, facts: dict[str, Any]) -> None:
    """Write README.md into a checkpoint that was just trained.

    Parameters
    ----------
    facts
        `parameters`, `device`, `seconds` and `versions`, as in `training.json`.
    """
    size, mixture, settings = recipe.network, recipe.mixture, recipe.training
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    text = f"""# A Chronos-Bolt model trained on synthetic series

{facts["parameters"]:,} parameters (d_model {size.d_model}, {size.layers} + {size.layers} layers, \
patch {size.patch}, context {size.context}, {size.steps} steps at once, {len(size.levels)} \
quantile levels from {size.levels[0]:g} to {size.levels[-1]:g}), float16 weights. It loads with
`chronos.BaseChronosPipeline.from_pretrained` without a network. Ours, not one of Amazon's.

**Pretraining data.** Synthetic series only, drawn while training: {mixture.price_like:.0%} \
price-like, {1 - mixture.price_like:.0%} structural, {mixture.mixed:.0%} of all mixed pairwise. No
market data and no public data set: what trains opens no file.

**Training.** From random initialisation, seed {settings.seed}, on {facts["device"]} in \
{facts["seconds"]:.0f} s: {settings.steps:,} steps of {settings.batch:,} series, by
`python -m candidates.pretraining train`. Versions: {versions}.

{START}
Not evaluated yet: `python -m candidates.pretraining evaluate`.
{END}

Every setting:

```json
{json.dumps(facts["recipe"], indent=1)}
```
"""
    (checkpoint / "README.md").write_text(text, encoding="utf-8")


def put_figures(checkpoint: Path, scores: list[Scores], *, reference: str, command: str) -> None:
    """Replace what stands between the two marks of a card by figures and their command.

    Raises
    ------
    ArmError
        When the folder has no card with those marks.
    """
    card = checkpoint / "README.md"
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    before, mark, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ArmError(f"{card}: no lines '{START}' and '{END}' to write figures between")
    figures = f"{figures_text(scores, reference=reference)}\n\n    {command}\n"
    card.write_text(f"{before}{START}\n{figures}{END}{after}", encoding="utf-8")


def figures_text(scores: list[Scores], *, reference: str) -> str:
    """What the figures are, and the table."""
    return (
        f"Zero-shot, horizon 24, all before the first test origin of the nightly plan. CRPS and\n"
        f"MAE over those of `{reference}` (below 1 is better);\n"
        f'"apart" counts the origins that share no session.\n\n{markdown(scores)}'
    )


@dataclass(slots=True, kw_only=True)
class TrainingProgress:
    """One line that is redrawn in a terminal; in a log a line from time to time.

    Attributes
    ----------
    every_s
        Seconds between lines of a log.
    """

    stream: TextIO = field(default_factory=lambda: sys.stderr)
    every_s: float = 15.0
    _steps: int = 0
    _began_at: int = 0
    _start: float = 0.0
    _said: float = 0.0

    def begin(self, done: int, steps: int) -> None:
        """Say where it starts."""
        self._steps, self._began_at = steps, done
        self._start = self._said = time.monotonic()
        gone_on = f", going on after step {done:,}" if done else ""
        self.stream.write(f"training {steps:,} steps{gone_on}\n")
        self.stream.flush()

    def step(self, done: int, loss: float | None) -> None:
        """Say how far it is, where a row of the curve was completed."""
        now = time.monotonic()
        terminal = self.stream.isatty()
        last = done == self._steps
        if loss is None or not (terminal or last or now - self._said >= self.every_s):
            return
        pace = (done - self._began_at) / max(now - self._start, 1e-9)
        left = "" if last else f", about {clock((self._steps - done) / pace)} left"
        text = f"step {done:,} of {self._steps:,}, loss {loss:.4f}, {pace:.1f} steps/s{left}"
        self.stream.write(f"\r\x1b[K{text}" if terminal else f"{text}\n")
        self.stream.write("\n" if terminal and last else "")
        self.stream.flush()
        self._said = now


def clock(seconds: float) -> str:
    """Seconds as text."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
