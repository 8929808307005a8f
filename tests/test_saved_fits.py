"""Saved fits: every arm of ours that learns forecasts after a restore what it did after its fit."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.arm import Learns, Loads, Saves
from harness.arm_ref import ArmRef
from harness.errors import ArmError
from harness.forecast import LEVELS
from harness.window import RollingOrigin, Series, context_at, contexts_at

PLAN = RollingOrigin(horizon=6, stride=10, origins=5, validation=80)
NETWORK = {
    "seq_len": 24,
    "label_len": 12,
    "d_model": 8,
    "n_heads": 2,
    "d_ff": 16,
    "e_layers": 1,
    "moving_avg": 5,
    "epochs": 1,
    "train_stride": 8,
    "learning_rate": 1e-3,
}
FAST = {"steps": 4, "lr": 3e-3, "batch_size": 4, "every": 2}
CHECKOUT = """
import numpy as np
import torch
from torch import nn

class Model(nn.Module):
    def __init__(self, configs):
        super().__init__()
        self.steps = configs.pred_len
        self.rows = np.random.permutation(configs.seq_len)[:4]  # drawn when it is built
        self.ahead = nn.Linear(4, configs.pred_len)
        self.seen = 0.0

    def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec):
        {each}
        rows = x_enc[:, self.rows].transpose(1, 2)
        return x_enc[:, -1:] + self.ahead(rows).transpose(1, 2) + self.seen
"""
LEGACY = "baselines.legacy:LegacyForecaster"
CHRONOS = "candidates.hf_bayesian_autoformer:HFBayesianAutoformer"
KINDS = {
    "autoformer": (LEGACY, NETWORK),
    "bayesian": (LEGACY, NETWORK | {"model": "BayesianEnhancedAutoformer"}),
    "hierarchical": (LEGACY, NETWORK | {"model": "HierarchicalEnhancedAutoformer"}),
    "quantiles": (
        LEGACY,
        NETWORK | {"model": "QuantileBayesianAutoformer", "quantiles": [0.1, 0.5, 0.9]},
    ),
    "checkout": (
        "baselines.tslib:TSLibModel",
        {"root": "CHECKOUT", "model": "Mine", "config": {"seq_len": 24}, "epochs": 1},
    ),
    "conformal": (CHRONOS, {"context": 64, "conformal": True}),
    "fine-tuned bolt": (
        CHRONOS,
        {"model": "bolt", "context": 64, "finetune": FAST, "conformal": True},
    ),
    "fine-tuned t5": (CHRONOS, {"model": "t5", "context": 64, "finetune": FAST, "samples": 200}),
    "fine-tuned chronos2": (CHRONOS, {"model": "chronos2", "context": 64, "finetune": FAST}),
    "pair": (
        "harness.fallback:WithFallback",
        {
            "primary": {"use": LEGACY, **NETWORK},
            "fallback": {"use": CHRONOS, "context": 64, "conformal": True},
        },
    ),
}
"""Each kind of arm that learns, made small; T5 and Chronos-2 are toys."""

RESTORING = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("saved_fits", sys.argv[1])
here = importlib.util.module_from_spec(spec)
spec.loader.exec_module(here)
given = json.load(sys.stdin)
print(json.dumps({name: here.restored_digest(*each) for name, each in given.items()}))
"""


def history() -> Series:
    """Weekdays of a random walk; the same in every process."""
    days = np.busday_offset(np.datetime64("2000-01-03"), np.arange(700), "forward")
    rng = np.random.default_rng(0)
    return Series(
        dates=days.astype("datetime64[D]"),
        target=100 * np.exp(np.cumsum(0.01 * rng.standard_normal(700))),
        past=rng.standard_normal((700, 1)),
        past_names=("noise",),
        weekmask="1111100",
        season=5,
    )


def write_checkout(folder: Path, *, each: str = "") -> str:
    (folder / "models").mkdir(parents=True)
    text = CHECKOUT.format(each=each)
    (folder / "models" / "Mine.py").write_text(text, encoding="utf-8")
    return str(folder)


def ready(use: str, options: dict[str, object]):
    arm = ArmRef(name="x", use=use, role="candidate", options=options).build()
    if isinstance(arm, Loads):
        arm.load()
    return arm


def digest_of(series, arm) -> str:
    origins = PLAN.over(series.dates).origin
    asked = contexts_at(series, origins, plan=PLAN, length=arm.context_length, levels=LEVELS)
    found = arm.forecast(asked)
    arrays = [found.point, found.quantiles, found.samples]
    assert np.isfinite(found.point).all()
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays if a is not None)).hexdigest()


def restored_digest(use: str, options: dict[str, object], folder: str) -> str:
    """Forecasts of a newly built arm that was given a saved fit; also called in other processes."""
    arm = ready(use, options)
    arm.restore(Path(folder))
    return digest_of(history(), arm)


@pytest.fixture(scope="module")
def saved(tmp_path_factory, made_once):
    """For each kind its class, options, folder and the digest of its forecasts after the fit."""
    sys.path.append(str(Path(__file__).parent / "candidates"))
    import toy_chronos

    places = {
        "CHECKOUT": write_checkout(tmp_path_factory.mktemp("checkout") / "user"),
        **{
            kind: str(made_once(kind, getattr(toy_chronos, kind)))
            for kind in ("t5", "bolt", "chronos2")
        },
    }
    series, found = history(), {}
    context = context_at(series, int(PLAN.over(series.dates).origin[0]), plan=PLAN)
    for name, (use, given) in KINDS.items():
        options = {
            key: places.get(value, value) if key in ("model", "root") else value
            for key, value in given.items()
        }
        arm = ready(use, options)
        assert isinstance(arm, Learns)
        assert isinstance(arm, Saves)
        arm.fit(context, seed=3)
        folder = tmp_path_factory.mktemp("fit") / "saved"
        folder.mkdir()
        arm.save(folder)
        found[name] = (use, options, str(folder), digest_of(series, arm))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_forecasts_after_a_restore_are_equal_bit_by_bit(saved, name):
    """A newly built arm that restores a fit forecasts the same bits as the arm that was fitted."""
    use, options, folder, expected = saved[name]

    actual = restored_digest(use, options, folder)

    assert expected == actual


@pytest.mark.slow
def test_another_process_restores_the_same_bits(saved):
    """A saved fit needs nothing of the process it was made in."""
    given = {name: found[:3] for name, found in saved.items()}

    answer = subprocess.run(
        [sys.executable, "-c", RESTORING, __file__],
        input=json.dumps(given),
        capture_output=True,
        text=True,
    )

    assert answer.returncode == 0, answer.stderr
    expected = {name: found[3] for name, found in saved.items()}
    assert expected == json.loads(answer.stdout)


def test_saved_fits_hold_plain_numbers_only(saved):
    """Every file of a saved fit is JSON or safetensors."""
    kinds = {file.suffix for *_, folder, _ in saved.values() for file in Path(folder).rglob("*.*")}

    assert kinds == {".json", ".safetensors"}


@pytest.mark.parametrize("name", ["autoformer", "checkout", "fine-tuned bolt", "pair"])
def test_damaged_fits_are_refused_in_one_line(saved, name, tmp_path):
    """A flipped bit, a lost end or a lost file anywhere in it is named."""
    use, options, folder, _ = saved[name]
    arm, rng = ready(use, options), np.random.default_rng(0)
    for file in sorted(path for path in Path(folder).rglob("*.*")):
        whole = file.read_bytes()
        flipped = bytearray(whole)
        flipped[int(rng.integers(len(whole)))] ^= 1 << int(rng.integers(8))
        for content in (bytes(flipped), whole[: len(whole) // 2], b"", None):
            file.unlink() if content is None else file.write_bytes(content)
            with pytest.raises(ArmError) as refusal:
                arm.restore(Path(folder))
            file.write_bytes(whole)

            assert file.name in str(refusal.value)
            assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("theirs", "ours", "said"),
    [
        ("bayesian", "autoformer", 'made with model = "BayesianEnhancedAutoformer", not with "Aut'),
        ("conformal", "autoformer", "is of candidates.hf_bayesian_autoformer:HFBayesianAutoformer"),
        ("conformal", "fine-tuned bolt", "made with finetune = null, not with {"),
        ("autoformer", "pair", "is of baselines.legacy:LegacyForecaster, not of harness.fallback"),
    ],
)
def test_foreign_fits_are_refused_in_one_line(saved, theirs, ours, said):
    """What another class saved, or the same with another option, is not restored."""
    use, options, *_ = saved[ours]

    with pytest.raises(ArmError) as refusal:
        ready(use, options).restore(Path(saved[theirs][2]))

    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_checkout_that_keeps_more_than_weights_says_so(series, tmp_path):
    """A network whose state dict is not all it keeps of a fit is not saved."""
    root = write_checkout(tmp_path / "user", each="self.seen += 1.0 * self.training")
    use, options = KINDS["checkout"]
    arm = ready(use, options | {"root": root})
    arm.fit(context_at(series, 400, plan=PLAN), seed=3)
    (tmp_path / "fit").mkdir()

    with pytest.raises(ArmError, match=r"Mine\.py cannot be saved: its state dict is not all"):
        arm.save(tmp_path / "fit")


def test_pair_whose_part_cannot_be_saved_says_so(series, tmp_path):
    """An arm made of others is saved only where all that learn can be."""
    (tmp_path / "plain_arms.py").write_text(
        "from harness.arm import Training\n"
        "from baselines.random_walk import RandomWalk\n"
        "class Learner(RandomWalk):\n"
        "    def fit(self, context, *, seed):\n"
        "        return Training()\n",
        encoding="utf-8",
    )
    walk = {"use": "baselines.random_walk:RandomWalk"}
    options = {"primary": {"use": "plain_arms:Learner"}, "fallback": walk}
    use = "harness.fallback:WithFallback"
    arm = ArmRef(name="x", use=use, role="candidate", options=options, folder=tmp_path).build()
    arm.fit(context_at(series, 400, plan=PLAN), seed=1)
    (tmp_path / "fit").mkdir()

    with pytest.raises(ArmError, match="its part Learner learns and has no `save`"):
        arm.save(tmp_path / "fit")
