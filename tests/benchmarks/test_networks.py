"""How fast the legacy networks train and forecast, beside plain ones that hold the same weights.

    python -P tests/benchmarks/test_networks.py               every network, eager and plain
    python -P tests/benchmarks/test_networks.py --compiled    compiled as well: takes minutes
    python -P tests/benchmarks/test_networks.py --store       keep the ratios

Each round runs every kind once, in turns, so that the weather of the machine meets all of them;
what counts is CPU time, and the ratio is the median of the rounds' own. Beside them stand the
matrix products of our linear maps alone: no network that works them out can be quicker, so the
port's time over theirs bounds the ratio. Kept ratios carry the digest of the plain ports: who
touches a port has to measure again, in a commit of its own.
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
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

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


class Products(TorchDispatchMode):
    """Notes the linear maps' matrix products, and works them out again on numbers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Callable[[], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Work an operator out, and note it if it is one."""
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten.addmm_):
            named = {name: alike(each) for name, each in (kwargs or {}).items()}
            self.calls.append(partial(func, *map(alike, args), **named))
        return func(*args, **(kwargs or {}))

    def __call__(self) -> Tensor:
        """Work all of them out once."""
        for call in self.calls:
            last: Tensor = call()
        return last


def alike(value: Any) -> Any:
    """Random numbers laid out as a tensor is."""
    if not isinstance(value, Tensor):
        return value
    return torch.empty_strided(value.shape, value.stride()).normal_()


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
    kinds, others = ("eager", "compiled", "plain", "products"), ("eager", "compiled", "products")
    times = [f"{found['ms'][kind]:.0f}" if kind in found["ms"] else "-" for kind in kinds]
    ratios = [f"{found['ratio'][each]:.1f}" if each in found["ratio"] else "-" for each in others]
    head = f"| {found['work']} of `{found['name']}` | {found['threads']} "
    return head + f"| {' | '.join(times)} | {' | '.join(ratios)} |"


def measured(name: str, work: Any, kinds: tuple[str, ...], rounds: int) -> dict[str, Any]:
    """Milliseconds by kind, and the plain port's over the others'.

    Of CPU time on one thread; by the wall on more, since threads that wait for others spin.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    timed = {kind: work(built(name, kind), plain=kind == "plain") for kind in kinds}
    with Products() as products:
        timed["eager"]()
    timed["products"] = products
    first: dict[str, float] = {}
    for kind, run in timed.items():
        start = clock()
        run()
        run()
        first[kind] = clock() - start
    taken: dict[str, list[float]] = {kind: [] for kind in timed}
    for turn in range(rounds):
        for kind in list(timed)[:: 1 if turn % 2 else -1]:
            start = clock()
            timed[kind]()
            taken[kind].append(1e3 * (clock() - start))
    ratios = {
        kind: statistics.median(p / o for p, o in zip(taken["plain"], each, strict=True))
        for kind, each in taken.items()
        if kind != "plain"
    }
    ms = {kind: statistics.median(each) for kind, each in taken.items()}
    found = {
        "name": name,
        "work": "training step" if work is step_of else "forecast",
        "threads": torch.get_num_threads(),
        "ms": {kind: round(value, 1) for kind, value in ms.items()},
        "ratio": {kind: round(value, 2) for kind, value in ratios.items()},
    }
    if "compiled" in first:
        gained = ms["eager"] - ms["compiled"]
        found["compile_s"] = round(first["compiled"], 1)
        found["pays_after"] = round(1e3 * first["compiled"] / gained) if gained > 0 else None
    return found


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
            if asked.compiled:
                pays = found[-1]["pays_after"] or "no number of"
                print(f"compiling took {found[-1]['compile_s']} s: pays after {pays} runs")
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
