"""Training lowers the loss, stops and goes on with the same weights, and reads no data."""

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from candidates.pretraining.checkpoint import export, load_state
from candidates.pretraining.command import run_command
from candidates.pretraining.optimise import (
    Trainer,
    TrainingOptions,
    build_network,
    learning_rate,
    renew_average,
    train,
)
from harness.errors import ConfigError, StoreError


class Quiet:
    """Says nothing; may stop the run at a step, as a crash would."""

    def __init__(self, stop=None):
        self.stop, self.began, self.losses = stop, None, []

    def begin(self, done, steps):
        self.began = done

    def step(self, done, loss):
        self.losses += [] if loss is None else [loss]
        if done == self.stop:
            raise RuntimeError("pulled the plug")


AT_ONCE = TrainingOptions(save_every_s=0.0)


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_training_lowers_the_loss(tmp_path, resized):
    """After 300 steps the loss is well below that of the first 50."""
    watch = Quiet()

    trainer = train(resized(steps=300), tmp_path, options=TrainingOptions(), watch=watch)

    assert trainer.step == 300
    assert watch.losses[-1] < 0.8 * watch.losses[0]
    assert [row[0] for row in trainer.curve] == [50, 100, 150, 200, 250, 300]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, resized):
    """A run of 100 steps that nothing disturbed."""
    return train(
        resized(steps=100), tmp_path_factory.mktemp("whole"), options=AT_ONCE, watch=Quiet()
    )


@pytest.mark.slow
def test_a_run_that_was_cut_off_ends_with_the_same_weights(tmp_path, unbroken):
    """Stopped between two states and called again, it gives the bits of an unbroken run."""
    whole, recipe = unbroken, unbroken.recipe

    with pytest.raises(RuntimeError, match="plug"):
        train(recipe, tmp_path / "cut", options=AT_ONCE, watch=Quiet(stop=77))
    watch = Quiet()
    resumed = train(recipe, tmp_path / "cut", options=AT_ONCE, watch=watch)

    assert watch.began == 50
    assert equal(whole.network.state_dict(), resumed.network.state_dict())
    assert equal(whole.average, resumed.average)
    assert whole.curve == resumed.curve


RUN = """\
import sys
from candidates.pretraining.command import run_command
sys.exit(run_command(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_killed_process_is_gone_on_with(tmp_path, unbroken, with_pretraining, capsys):
    """After SIGKILL the same command ends with the weights of a run that was not killed."""
    whole, recipe = unbroken, unbroken.recipe
    file = tmp_path / "tiny.toml"
    small, settings = recipe.network, recipe.training
    file.write_text(
        f"[network]\nd_model = {small.d_model}\nlayers = 1\ncontext = 64\nsteps = 24\n"
        f"levels = {list(small.levels)}\n[training]\nsteps = 100\nbatch = 8\npool = 32\n"
        f"warmup = 5\nleast = 16\nlearning_rate = {settings.learning_rate}\n"
    )
    options = ["--out", str(tmp_path / "killed"), "--device", "cpu", "--save-every", "0"]
    words = ["train", str(file), *options]
    command = [sys.executable, "-P", "-c", with_pretraining + RUN, *words]

    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as first:
        state = tmp_path / "killed" / "state.pt"
        while not state.exists() and first.poll() is None:
            time.sleep(0.01)
        os.kill(first.pid, signal.SIGKILL)
    assert first.returncode == -signal.SIGKILL
    assert load_state(tmp_path / "killed", recipe, device="cpu").step < 100

    assert run_command(words) == 0

    assert "going on after step" in capsys.readouterr().err
    ended = load_state(tmp_path / "killed", recipe, device="cpu")
    assert equal(whole.average, ended.average)
    assert equal(whole.network.state_dict(), ended.network)


@pytest.mark.slow
def test_another_recipes_run_is_not_gone_on_with(tmp_path, tiny, resized):
    """The setting that differs is named, and the state stays."""
    train(tiny, tmp_path, options=TrainingOptions(), watch=Quiet())

    with pytest.raises(StoreError, match=r"another recipe \(training.batch: 8, not 16\)"):
        train(resized(batch=16), tmp_path, options=TrainingOptions(), watch=Quiet())

    assert load_state(tmp_path, tiny, device="cpu").step == 60


@pytest.mark.parametrize("content", [b"", b"no state", b"PK\x03\x04 half a state"])
def test_damaged_state_is_refused_in_one_line(tmp_path, tiny, content):
    """A file that is no state is named; it is not taken for a fresh start."""
    (tmp_path / "state.pt").write_bytes(content)

    with pytest.raises(StoreError, match=r"state\.pt: cannot be read") as caught:
        load_state(tmp_path, tiny, device="cpu")

    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_divergence_is_said(tmp_path, resized):
    """A recipe that diverges ends in one line; what was saved before is kept."""
    trainer_recipe = resized(learning_rate=1e30, clip=1e30)

    with pytest.raises(ConfigError, match="diverged: the loss is nan by step 50"):
        train(trainer_recipe, tmp_path, options=AT_ONCE, watch=Quiet())


def test_rate_rises_and_falls(tiny):
    """A straight rise over the warm-up, a cosine down to the floor."""
    settings = dataclasses.replace(
        tiny.training, steps=1000, warmup=100, learning_rate=1.0, floor=0.1
    )

    rates = [learning_rate(step, settings) for step in range(1000)]

    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(rates[99], rel=1e-3)
    assert rates[500] == pytest.approx(0.55)
    assert rates[999] == pytest.approx(0.1, rel=1e-3)


def test_average_follows_the_weights(tiny):
    """One renewal is the stated mixture of old and new; late ones keep 0.999 per step."""
    settings = dataclasses.replace(tiny.training, average_every=10, average=0.999)
    early, late = {"w": torch.zeros(1)}, {"w": torch.zeros(1)}

    renew_average(early, {"w": torch.ones(1)}, step=10, settings=settings)
    renew_average(late, {"w": torch.ones(1)}, step=10**6, settings=settings)

    assert float(early["w"]) == pytest.approx(1 - (11 / 20) ** 10)
    assert float(late["w"]) == pytest.approx(1 - 0.999**10, rel=1e-3)


def test_first_weights_follow_the_seed_alone(tiny, resized):
    """The same seed the same weights, another others; the global random state stays."""
    torch.manual_seed(5)
    before = torch.get_rng_state()

    one, other = build_network(tiny), build_network(resized(seed=1))

    assert torch.equal(before, torch.get_rng_state())
    assert equal(one.state_dict(), build_network(tiny).state_dict())
    assert not equal(one.state_dict(), other.state_dict())


def test_exported_folder_forecasts_as_the_network_does(tmp_path, tiny):
    """Chronos loads it without a network; quantiles agree to what float16 weights allow."""
    from chronos import BaseChronosPipeline

    network = build_network(tiny).eval()
    context = 100 + torch.randn(3, 64).cumsum(1)

    folder = export(network, tmp_path)

    pipeline = BaseChronosPipeline.from_pretrained(str(folder), dtype=torch.float32)
    with torch.no_grad():
        direct = network(context=context).quantile_preds
    found = pipeline.predict(context, prediction_length=24)
    weights = load_file(folder / "model.safetensors")
    assert pipeline.quantiles == [0.1, 0.5, 0.9]
    assert torch.allclose(found, direct, rtol=1e-3)
    assert {each.dtype for each in weights.values()} == {torch.float16}
    assert next(network.parameters()).dtype == torch.float32
    assert json.loads((folder / "config.json").read_text())["architectures"] == [
        "ChronosBoltModelForForecasting"
    ]


def test_training_opens_no_file_and_no_connection(tiny):
    """Steps, new pools included, make no system call that could bring data in."""
    seen, active = [], True

    def listen(event, arguments):
        if active and (event in ("open", "os.listdir", "os.scandir") or "socket" in event):
            seen.append((event, arguments))

    trainer = Trainer(recipe=tiny, device="cpu")
    trainer.advance()  # what torch imports late is imported now
    trainer.advance()
    sys.addaudithook(listen)

    losses = [trainer.advance() for _ in range(10)]
    active = False

    assert all(math.isfinite(loss) for loss in losses)
    assert seen == []


IMPORTED = "import sys, candidates.pretraining.optimise; print(*sorted(sys.modules))"


@pytest.mark.slow
def test_what_trains_can_reach_no_dataset(with_pretraining):
    """Importing the training loads no module that reads data, neither ours nor another's."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", with_pretraining + IMPORTED],
        capture_output=True,
        text=True,
        check=True,
    )

    loaded = set(done.stdout.split())
    assert "candidates.pretraining.mixture" in loaded
    readers = {"dataset", "checks", "manifest", "importer", "experiment", "run"}
    assert not loaded & {f"harness.{name}" for name in readers}
    assert not loaded & {"candidates.pretraining.evaluation", "pandas", "pyarrow", "datasets"}
