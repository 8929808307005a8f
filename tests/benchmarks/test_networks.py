"""How fast the legacy networks train and forecast, beside plain ones that hold the same weights.

    python -P tests/benchmarks/test_networks.py               every network, eager and plain
    python -P tests/benchmarks/test_networks.py --compiled    compiled as well: takes minutes
    python -P tests/benchmarks/test_networks.py --store       keep the ratios

Each round runs every kind once, in turns, so that the weather of the machine meets all of them;
what counts is CPU time, and the ratio is the median of the rounds' own. Kept ratios carry the
digest of the plain ports: who touches a port has to measure again, in a commit of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import baselines
from baselines.training import _adam

sys.path.append(str(Path(__file__).parents[1] / "baselines"))
from naive_autoformer import NaiveAutoformer  # found by the line above
from naive_bayesian import NaiveBayesian
from naive_enhanced import NaiveEnhanced
from naive_hierarchical import NaiveHierarchical

HERE = Path(__file__).resolve().parent
PORTS = HERE.parent / "baselines"
STORED = HERE / "baselines" / "networks.json"
DOCS = HERE.parents[1] / "docs" / "legacy-models.md"
CONFIG = {
    "seq_len": 96, "label_len": 48, "pred_len": 24, "enc_in": 7, "dec_in": 7, "c_out": 7,
    "d_model": 64, "n_heads": 8, "e_layers": 2, "d_layers": 1, "d_ff": 256, "factor": 1,
}  # fmt: skip
PLAIN: Mapping[str, type[nn.Module]] = {
    "Autoformer": NaiveAutoformer,
    "EnhancedAutoformer": NaiveEnhanced,
    "BayesianEnhancedAutoformer": NaiveBayesian,
    "HierarchicalEnhancedAutoformer": NaiveHierarchical,
}
SLOW = "HierarchicalEnhancedAutoformer"


def material(batch: int = 32) -> tuple[tuple[Tensor, ...], Tensor]:
    """Inputs of the usual shapes, and a truth."""
    draw = torch.Generator().manual_seed(0)
    x, m = (torch.randn(batch, 96, width, generator=draw) for width in (7, 4))
    x_dec = torch.cat([x[:, 48:], torch.zeros(batch, 24, 7)], dim=1)
    return (x, m, x_dec, m[:, :72]), torch.randn(batch, 24, 7, generator=draw)


def step_of(network: nn.Module, *, plain: bool) -> Callable[[], Tensor]:
    """One training step: forward, backward, and Adam as our loop has it, or as the originals'."""
    weights = network.parameters()
    optimiser = torch.optim.Adam(weights, lr=1e-4) if plain else _adam(network, 1e-4)
    parts, truth = material()

    def step() -> Tensor:
        optimiser.zero_grad()
        loss: Tensor = (network.train()(*parts) - truth).square().mean()
        loss.backward()
        optimiser.step()
        return loss.detach()

    return step


def forecast_of(network: nn.Module, *, plain: bool) -> Callable[[], Tensor]:
    """One forecast of a batch in eval without gradient; alike for both kinds."""
    parts, _ = material()

    def forecast() -> Tensor:
        with torch.no_grad():
            output: Tensor = network.eval()(*parts)
        return output

    return forecast


def built(name: str, kind: str) -> nn.Module:
    """A network of the usual sizes: eager, compiled or plain."""
    torch.manual_seed(0)
    network = baselines.build(name, CONFIG)
    if kind == "compiled":
        compiled: Any = torch.compile(network)
        return compiled  # type: ignore[no-any-return]
    return PLAIN[name](network) if kind == "plain" else network


@pytest.mark.parametrize("kind", ["eager", "plain"])
@pytest.mark.parametrize("name", [name for name in PLAIN if name != SLOW])
@pytest.mark.parametrize("work", [step_of, forecast_of])
def test_networks(benchmark: Any, work: Any, name: str, kind: str) -> None:
    """Time one training step or one forecast, ours and the plain one in one group."""
    benchmark.group = f"{name} {work.__name__}"

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # waiting for a busy core would be timed with more
    timed = work(built(name, kind), plain=kind == "plain")
    result = benchmark.pedantic(timed, rounds=5, warmup_rounds=1)

    torch.set_num_threads(threads)

    assert torch.isfinite(result).all()


def digest() -> str:
    """Digest of the plain ports."""
    names = sorted(PORTS.glob("naive_*.py"))
    return hashlib.sha256(b"".join(name.read_bytes() for name in names)).hexdigest()


def test_the_kept_ratios_are_of_these_ports() -> None:
    """A plain port that was touched has no ratio until it is measured again."""
    assert json.loads(STORED.read_text(encoding="utf-8"))["ports"] == digest()


def test_the_page_gives_the_kept_ratios() -> None:
    """Every measured row stands in the documentation as it was measured."""
    page = DOCS.read_text(encoding="utf-8")

    rows = [row(each) for each in json.loads(STORED.read_text(encoding="utf-8"))["measured"]]

    assert rows
    assert [line for line in rows if line not in page] == []


def row(found: Mapping[str, Any]) -> str:
    """One measurement as a line of a table."""
    kinds = ("eager", "compiled", "plain")
    times = [f"{found['ms'][kind]:.0f}" if kind in found["ms"] else "-" for kind in kinds]
    of_compiled = f"{found['ratio']['compiled']:.1f}" if "compiled" in found["ratio"] else "-"
    head = f"| {found['work']} of `{found['name']}` | {found['threads']} "
    return head + f"| {' | '.join(times)} | {found['ratio']['eager']:.1f} | {of_compiled} |"


def measured(name: str, work: Any, kinds: tuple[str, ...], rounds: int) -> dict[str, Any]:
    """Milliseconds of CPU time by kind, and the plain port's over the others'."""
    timed = {kind: work(built(name, kind), plain=kind == "plain") for kind in kinds}
    for _ in range(2):
        for run in timed.values():
            run()
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    for turn in range(rounds):
        for kind in kinds if turn % 2 else kinds[::-1]:
            start = time.process_time()
            timed[kind]()
            taken[kind].append(1e3 * (time.process_time() - start))
    ratios = {
        kind: statistics.median(p / o for p, o in zip(taken["plain"], each, strict=True))
        for kind, each in taken.items()
        if kind != "plain"
    }
    return {
        "name": name,
        "work": "training step" if work is step_of else "forecast",
        "threads": torch.get_num_threads(),
        "ms": {kind: round(statistics.median(each), 1) for kind, each in taken.items()},
        "ratio": {kind: round(value, 2) for kind, value in ratios.items()},
    }


def main() -> None:
    """Measure, print a table, and keep it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--compiled", action="store_true", help="compiled networks as well")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", choices=list(PLAIN), action="append")
    parser.add_argument("--store", action="store_true", help=f"keep the rows in {STORED.name}")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    warnings.simplefilter("ignore")  # the compiler's, such as on complex numbers
    found = []
    for name in asked.only or PLAIN:
        kinds = ("eager", "compiled", "plain") if asked.compiled else ("eager", "plain")
        for work in (step_of, forecast_of):
            rounds = max(3, asked.rounds // 5) if name == SLOW else asked.rounds
            found.append(measured(name, work, kinds, rounds))
            print(row(found[-1]), flush=True)
    if asked.store:
        keep(found)


def keep(found: list[dict[str, Any]]) -> None:
    """Write measurements over those of the same work; other ports' are dropped."""
    known = json.loads(STORED.read_text(encoding="utf-8")) if STORED.is_file() else {}
    before = known.get("measured", []) if known.get("ports") == digest() else []
    rows = {(e["name"], e["work"], e["threads"]): e for e in [*before, *found]}
    content = {"ports": digest(), "torch": torch.__version__, "measured": list(rows.values())}
    STORED.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
