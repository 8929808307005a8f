"""The model card of a checkpoint: what it is, what it saw, how it was trained, how good it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from candidates.pretraining.evaluation import Scores, markdown
from candidates.pretraining.recipe import Recipe
from harness.errors import ArmError

START, END = "<!-- figures: made by evaluate -->", "<!-- end of figures -->"
"""What `evaluate --card` writes stands between these lines."""


def write_card(checkpoint: Path, recipe: Recipe, *, facts: dict[str, Any]) -> None:
    """Write README.md into a checkpoint that was just trained.

    Parameters
    ----------
    facts
        `parameters`, `device`, `seconds` and `versions`, as in `training.json`.
    """
    size, mixture, settings = recipe.network, recipe.mixture, recipe.training
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
`python -m candidates.pretraining train`. Versions: {_listed(facts["versions"])}.

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


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
