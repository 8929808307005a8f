"""A user's own checkout as an arm: found, isolated, fed, read, and refused in one line."""

import dataclasses
import random
import re
import sys
from pathlib import Path
from textwrap import dedent, indent

import numpy as np
import pytest
import torch
from in_process import InThisProcess
from safetensors.torch import save_file

from baselines.contract import Contract, full_config, prediction
from baselines.features import WARM_UP, channels
from baselines.tslib import TSLibModel
from harness.arm import Arm, Describes, HasWeights, Learns, Loads
from harness.arm_ref import ArmRef
from harness.checks import arm_subject, run_battery
from harness.cli import run_cli
from harness.errors import ArmError, ForecastError
from harness.running import fill, identity
from harness.running.unit import Job, carry_out
from harness.verbs import compare
from harness.window import RollingOrigin, context_at, up_to

USE = "baselines.tslib:TSLibModel"
PLAN = RollingOrigin(horizon=6, stride=20, origins=4, validation=80)
CONFIG = {"seq_len": 24, "label_len": 12, "d_model": 4}
OWN = {"columns": "from prices", "trained_until": "2000-01-01"}
"""What has to be said of a checkpoint that was trained on our channels."""
QUICK = {"epochs": 2, "learning_rate": 1e-2, "train_stride": 4}

DECOMPOSITION = """
    from torch import nn

    class SeriesDecomposition(nn.Module):
        def __init__(self, window):
            super().__init__()
            self.mean = nn.AvgPool1d(window, stride=1, padding=window // 2, count_include_pad=False)

        def forward(self, x):
            trend = self.mean(x.transpose(1, 2)).transpose(1, 2)
            return x - trend, trend
"""
THUML_LIKE = """
    import torch
    from torch import nn
    from layers.decomposition import SeriesDecomposition

    class Model(nn.Module):
        def __init__(self, configs):
            super().__init__()
            self.pred_len = configs.pred_len
            self.split = SeriesDecomposition(configs.moving_avg)
            self.marks = nn.Linear(3, configs.c_out)
            self.time = nn.Linear(configs.seq_len, configs.pred_len)

        def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec, mask=None):
            from utils.tools import level
            assert mask is None
            season, trend = self.split(x_enc)
            ahead = self.time((season + trend).transpose(1, 2)).transpose(1, 2)
            ahead = level(x_enc) + 0.1 * ahead + 0.01 * self.marks(x_mark_dec)[:, -self.pred_len:]
            return torch.cat([x_dec[:, :-self.pred_len], ahead], dim=1)
"""
TOOLS = """
    def level(x):
        return x[:, -1:, :]
"""
LAST_VALUE = """
    import torch
    from torch import nn

    class {name}(nn.Module):
        def __init__(self, configs, scale=0.1):
            super().__init__()
            self.configs, self.scale = configs, scale
            self.shift = nn.Parameter(torch.zeros(1))

        def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec, detailed=False):
            last = x_enc[:, -1:, :] + self.shift
            path = last.expand(-1, self.configs.pred_len, -1)
            {answer}
"""


def checkout(folder, files):
    """Write a checkout of some files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(dedent(text), encoding="utf-8")
    return folder


def thuml_like(folder, **more):
    return checkout(
        folder,
        {
            "models/__init__.py": "import a_package_nobody_has\n",
            "models/Autoformer.py": THUML_LIKE,
            "models/Reformer.py": "import reformer_pytorch\n",
            "layers/__init__.py": "",
            "layers/decomposition.py": DECOMPOSITION,
            "utils/tools.py": TOOLS,
            "run.py": "raise RuntimeError('run.py was imported')\n",
        }
        | more,
    )


def last_value(folder, answer, *, name="Model", **more):
    """A model that repeats the last row and answers in some form."""
    text = dedent(LAST_VALUE).format(name=name, answer=indent(dedent(answer), " " * 8).strip())
    return checkout(folder, {"models/Mine.py": text} | more)


def run_unit(series, *, plan=PLAN, seed=1, batch=256, **options):
    windows = plan.over(series.dates)
    return carry_out(
        Job(
            ref=ArmRef(name="mine", use=USE, role="legacy", options=options),
            seed=seed,
            plan=plan,
            series=up_to(series, int(windows.origin[-1])),
            windows=windows,
            threads=1,
            batch=batch,
        )
    )


def mine(root, **options):
    """Options of the model in `models/Mine.py`, as it is."""
    given = {"root": str(root), "model": "Mine", "config": CONFIG, "train": False}
    return given | options


def only_reason(outcome):
    """The one reason why every window failed."""
    assert len(set(outcome.reason)) == 1
    assert "\n" not in outcome.reason[0]
    return outcome.reason[0]


def last_prices(series, plan=PLAN):
    """The price before each origin at every step, [W, H]."""
    return np.repeat(series.target[plan.over(series.dates).origin - 1][:, None], 6, axis=1)


@pytest.mark.slow
def test_thuml_like_checkout_trains_and_forecasts(tmp_path, series):
    """A model with its layers is trained, forecasts prices, and the same seed gives the same."""
    options = {"root": str(thuml_like(tmp_path)), "config": CONFIG | {"moving_avg": 5}} | QUICK

    outcome, again = run_unit(series, **options), run_unit(series, **options)
    other = run_unit(series, seed=2, **options)

    assert outcome.reason == [""] * 4
    assert len(outcome.fits[0].training.curve) == 2
    assert outcome.fits[0].training.best_epoch is not None
    assert np.abs(outcome.point / last_prices(series) - 1).max() < 0.2
    assert outcome.residual_distribution
    assert np.array_equal(outcome.values, again.values)
    assert not np.array_equal(outcome.point, other.point)
    assert outcome.card["model"] == "Autoformer, the user's own code (models/Autoformer.py)"


@pytest.mark.slow
def test_future_and_batch_change_nothing(tmp_path, series):
    """Values from the last origin on do not matter, nor do batch mates."""
    options = {"root": str(thuml_like(tmp_path)), "config": CONFIG | {"moving_avg": 5}} | QUICK
    target = series.target.copy()
    target[PLAN.over(series.dates).origin[-1] :] *= 3

    outcome = run_unit(series, **options)
    changed = run_unit(dataclasses.replace(series, target=target), **options)
    alone = run_unit(series, batch=1, **options)

    assert np.array_equal(outcome.values, changed.values)
    assert np.allclose(outcome.values, alone.values, rtol=1e-5)


def test_arm_keeps_the_protocols(tmp_path):
    """It is an arm that learns, loads, has files and describes itself in text."""
    arm = TSLibModel(root=str(thuml_like(tmp_path)), config={"seq_len": 30})

    for kind in (Arm, Learns, Loads, HasWeights, Describes):
        assert isinstance(arm, kind)
    assert arm.context_length == 30 + WARM_UP
    assert all(isinstance(text, str) for text in arm.card().values())


def state_of_the_imports():
    return set(sys.modules), list(sys.path), list(sys.meta_path), sys.dont_write_bytecode


def test_building_imports_nothing_of_the_checkout(tmp_path):
    """An arm can be built, described and identified without running a line of the user's code."""
    root = last_value(tmp_path, "boom = 1 / 0")
    text = (root / "models/Mine.py").read_text()
    (root / "models/Mine.py").write_text(text + "raise RuntimeError('imported')")
    before = state_of_the_imports()

    arm = TSLibModel(root=str(root), model="Mine")
    arm.card(), arm.weight_files()

    assert state_of_the_imports() == before


@pytest.mark.slow
def test_nothing_leaks_out_of_a_unit(tmp_path, series):
    """After a unit no module, path, finder or bytecode of the checkout is left behind."""
    root = thuml_like(tmp_path / "checkout")
    checkout(root, {"models/Mine.py": "import sys\nsys.path.append('/x')\n" + dedent(THUML_LIKE)})
    run_unit(series, root=str(root), config=CONFIG, train=False)  # what torch imports itself
    modules, *rest = state_of_the_imports()

    outcome = run_unit(series, root=str(root), model="Mine", config=CONFIG, train=False)

    after, *rest_after = state_of_the_imports()
    assert outcome.reason == [""] * 4
    assert {name.partition(".")[0] for name in after - modules} & {"models", "utils"} == set()
    assert rest_after == rest
    assert not list(root.rglob("__pycache__"))


def test_our_modules_of_the_same_name_come_back(tmp_path, series, monkeypatch):
    """A module that is loaded under a name of the checkout is the same object afterwards."""
    theirs = type(sys)("utils")
    monkeypatch.setitem(sys.modules, "utils", theirs)
    harness = sys.modules["harness"]

    outcome = run_unit(
        series,
        root=str(thuml_like(tmp_path, **{"harness/__init__.py": "boom"})),
        config=CONFIG,
        train=False,
    )

    assert outcome.reason == [""] * 4
    assert sys.modules["utils"] is theirs
    assert sys.modules["harness"] is harness


def test_folder_named_datasets_is_left_alone(tmp_path, series):
    """A checkout's `datasets` never stands in for Hugging Face's; who imports it is told."""
    body = "import importlib.util\nassert importlib.util.find_spec('datasets') is None or True\n"
    root = thuml_like(tmp_path, **{"datasets/__init__.py": "raise RuntimeError('taken')"})
    fine = run_unit(series, root=str(root), config=CONFIG, train=False)
    checkout(root, {"models/Mine.py": body + "import datasets.loader\n"})

    reason = only_reason(run_unit(series, **mine(root)))

    assert fine.reason == [""] * 4
    assert "'datasets" in reason
    assert "RuntimeError" not in reason


@pytest.mark.slow
def test_two_checkouts_with_the_same_names_in_turn(tmp_path, series):
    """Two arms whose packages share names each run their own code, whichever was used last."""
    one = thuml_like(tmp_path / "one")
    two = thuml_like(tmp_path / "two")
    (two / "utils/tools.py").write_text("def level(x):\n    return x[:, :1, :]\n")
    origin = PLAN.over(series.dates).origin
    arms = [TSLibModel(root=str(r), config=CONFIG, train=False) for r in (one, two)]
    for arm in arms:
        arm.fit(context_at(series, int(origin[0]), plan=PLAN), seed=1)

    alone = [run_unit(series, root=str(r), config=CONFIG, train=False).point for r in (one, two)]
    answer = contexts_of(series, arms[0])
    first = [arm.forecast(answer).point for arm in arms]
    second = [arm.forecast(answer).point for arm in reversed(arms)]

    assert np.array_equal(first[0], second[1])
    assert np.array_equal(first[1], second[0])
    assert np.array_equal(first[0], alone[0])
    assert np.array_equal(first[1], alone[1])
    assert np.abs(first[0] - first[1]).max() > 0.1


def contexts_of(series, arm):
    from harness.forecast import LEVELS
    from harness.window import contexts_at

    origins = PLAN.over(series.dates).origin
    return contexts_at(series, origins, plan=PLAN, length=arm.context_length, levels=LEVELS)


def test_last_row_comes_back_as_the_last_price(tmp_path, series):
    """Scaling and its inverse agree: a network that repeats its input repeats the price."""
    outcome = run_unit(series, **mine(last_value(tmp_path, "return path")))

    assert np.allclose(outcome.point, last_prices(series), rtol=1e-5)


@pytest.mark.parametrize(
    "answer",
    [
        "return path, None",
        "return [path[:, :, 0], 1]",
        "return {'prediction': path}",
        "return {'prediction': (path, None), 'uncertainty': None}",
        "return path[:, :, :, None]",
    ],
)
@pytest.mark.parametrize("train", [False, True])
def test_forms_of_a_point_answer(tmp_path, series, answer, train):
    """Tuple, list and dict hold the path a tensor would be, in training too."""
    root = last_value(tmp_path, answer)

    outcome = run_unit(series, **mine(root, train=train, **QUICK))

    assert outcome.reason == [""] * 4
    assert np.allclose(outcome.point, last_prices(series), rtol=0.05)
    assert outcome.residual_distribution


BANDS = {
    "intervals": (
        """\
        sizes = ((68, 0.1), (95, 0.2), (99, 0.3))
        bounds = {f'{n}%': {'lower': path - d, 'upper': path + d, 'width': d} for n, d in sizes}
        return {'prediction': path, 'confidence_intervals': bounds}
        """,
        [0.005, 0.025, 0.16, 0.5, 0.84, 0.975, 0.995],
        [-0.3, -0.2, -0.1, 0, 0.1, 0.2, 0.3],
    ),
    "pairs": (
        "return {'prediction': path, 'confidence_intervals': {0.8: (path - 1, path + 1)}}",
        [0.1, 0.5, 0.9],
        [-1, 0, 1],
    ),
    "labels": (
        "return {'prediction': path, 'quantiles': {'q90': path + 1, 'q10': path - 1}}",
        [0.1, 0.9],
        [-1, 1],
    ),
    "fractions": (
        "return {'prediction': path, 'quantiles': {'quantile_0.025': path - 1, 'q975': path + 1}}",
        [0.025, 0.975],
        [-1, 1],
    ),
    "specific": (
        """\
        by_level = {f'quantile_{x}': {'prediction': path + x} for x in (0.1, 0.5, 0.9)}
        wide = {'95%': {'lower': path - 9, 'upper': path + 9}}
        return {'prediction': path, 'quantile_specific': by_level, 'confidence_intervals': wide}
        """,
        [0.1, 0.5, 0.9],
        [0.1, 0.5, 0.9],
    ),
}


@pytest.mark.parametrize("case", BANDS)
def test_uncertainty_of_a_dict_becomes_quantiles(tmp_path, series, case):
    """Intervals and quantiles of a dict are quantiles of the price on their own levels."""
    answer, levels, shifts = BANDS[case]
    outcome = run_unit(series, **mine(last_value(tmp_path, answer)))
    origin = int(PLAN.over(series.dates).origin[0])
    log = channels(series.target[: origin - PLAN.validation])[:, 0]

    assert outcome.reason == [""] * 4
    assert np.allclose(outcome.levels, levels, atol=1e-12)
    assert not outcome.residual_distribution
    assert np.allclose(outcome.point, last_prices(series), rtol=1e-5)
    expected = last_prices(series)[:, :, None] * np.exp(np.array(shifts) * log.std())
    assert np.allclose(outcome.values, expected, rtol=1e-4)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(
    "answer", ["return grid.flatten(2)", "return grid", "return {'prediction': grid.flatten(2)}"]
)
def test_channels_of_quantile_mode_become_quantiles(tmp_path, series, answer, train):
    """With quantile levels the last axis is target-major: the first nq channels are the price's."""
    grid = "grid = path[..., None] + torch.tensor([-1.0, 0.0, 1.0]); "
    root = last_value(tmp_path, grid + answer)
    config = CONFIG | {"quantile_levels": [0.9, 0.1, 0.5]}

    outcome = run_unit(series, **mine(root, config=config, train=train, **QUICK))

    assert outcome.reason == [""] * 4
    assert np.allclose(outcome.levels, [0.1, 0.5, 0.9])
    assert not outcome.residual_distribution
    assert np.allclose(outcome.values[..., 1], last_prices(series), rtol=0.1 if train else 1e-5)
    assert (np.diff(outcome.values, axis=2) > 0).all()


def test_levels_of_a_model_in_point_mode_are_ignored(tmp_path, series):
    """A network that does not widen its answer forecasts a path, whatever the config says."""
    config = CONFIG | {"quantile_levels": [0.1, 0.5, 0.9]}
    outcome = run_unit(series, **mine(last_value(tmp_path, "return path"), config=config))

    assert outcome.residual_distribution
    assert np.allclose(outcome.point, last_prices(series), rtol=1e-5)


def test_options_reach_class_and_forward(tmp_path, series):
    """Keywords of the class and of its forward are passed; a pass's own draws repeat."""
    answer = """\
        noise = self.scale * torch.randn(1)
        bands = {'q10': path - 1 + noise, 'q90': path + 1}
        return {'prediction': path, 'quantiles': bands} if detailed else path
    """
    options = mine(
        last_value(tmp_path, answer),
        model_options={"scale": 0.5},
        forecast_options={"detailed": True},
    )

    one, other, batch = (run_unit(series, **options, batch=b) for b in (256, 256, 1))

    assert np.array_equal(one.values, other.values)
    assert np.allclose(one.values, batch.values, rtol=1e-5)
    assert np.allclose(one.levels, [0.1, 0.9])
    assert "scael" in only_reason(run_unit(series, **(options | {"model_options": {"scael": 1}})))


def test_own_loss_term_counts_in_training_only(tmp_path, series):
    """A network that wraps the loss (KL) is trained with it; validation is the plain loss."""
    root = last_value(tmp_path, "return path")
    with (root / "models/Mine.py").open("a") as stream:
        stream.write("    def configure_optimizer_loss(self, base):\n")
        stream.write("        return lambda p, t: base(p, t) + 1000 + 0 * self.shift.sum()\n")

    outcome = run_unit(series, **mine(root, train=True, **QUICK))

    row = outcome.fits[0].training.curve[0]
    assert row.train_loss > 1000
    assert row.validation_loss < 1000


@pytest.mark.slow
def test_global_randomness_and_cuda_calls(tmp_path, series):
    """Draws from numpy and torch follow the seed; `.cuda()` of a CPU arm stays where it is."""
    answer = """\
        import numpy as np, random
        return path.cuda() + 0.01 * (np.random.rand() + random.random() + torch.rand(1))
    """
    options = mine(last_value(tmp_path, answer))
    before = (
        torch.get_rng_state(),
        np.random.get_state()[1],  # noqa: NPY002  # some models draw from it
        random.getstate(),
    )
    original = torch.Tensor.cuda

    points = [run_unit(series, seed=seed, **options).point for seed in (1, 1, 2)]

    assert np.array_equal(points[0], points[1])
    assert not np.array_equal(points[0], points[2])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002  # theirs
    assert random.getstate() == before[2]
    assert torch.Tensor.cuda is original


def test_fewer_channels_and_a_longer_path(tmp_path, series):
    """A model of one channel that predicts more steps than the plan asks for is served."""
    answer = "assert x_enc.shape[2] == x_dec.shape[2] == 1; return path"
    config = CONFIG | {"enc_in": 1, "pred_len": 9}

    outcome = run_unit(series, **mine(last_value(tmp_path, answer), config=config))

    assert outcome.reason == [""] * 4
    assert np.allclose(outcome.point, last_prices(series), rtol=1e-5)


@pytest.mark.parametrize(
    ("embed", "freq", "first"),
    [
        ("timeF", "d", [-0.5, -0.5, -0.5]),
        ("timeF", "h", [-0.5, -0.5, -0.5, -0.5]),
        ("timeF", "t", [-0.5, -0.5, -0.5, -0.5, -0.5]),
        ("fixed", "d", [1, 1, 0, 0]),
        ("learned", "t", [1, 1, 0, 0, 0]),
    ],
)
def test_marks_are_those_the_embedding_wants(embed, freq, first):
    """Monday, 1 January 2001, begins every cycle; its marks have the embedding's width."""
    contract = Contract.of(full_config({"embed": embed, "freq": freq}, 6))
    dates = np.array(["2001-01-01", "2001-12-31"], dtype="datetime64[D]")

    marks = contract.marks(dates)

    assert marks[0].tolist() == first
    assert marks[1].tolist() != first


def test_config_is_completed_from_channels_and_plan():
    """What is not given comes from the seven channels and the horizon; given fields stay."""
    plain = full_config({}, 20)
    quantile = full_config({"quantile_levels": [0.1, 0.5, 0.9]}, 20)
    given = full_config({"quantile_levels": [0.1, 0.9], "c_out": 2, "n_levels": 3}, 20)

    names = ("enc_in", "dec_in", "c_out", "c_out_evaluation", "pred_len", "label_len")
    assert [plain[name] for name in names] == [7, 7, 7, 7, 20, 48]
    assert [quantile[name] for name in names[2:4]] == [21, 7]
    assert [given[name] for name in names[2:4]] == [2, 1]
    assert given["n_levels"] == 3


def test_class_of_another_name(tmp_path, series):
    """The class named like its module is found, another one when it is named."""
    root = last_value(tmp_path / "a", "return path", name="Mine")
    other = last_value(tmp_path / "b", "return path", name="Forecaster")

    assert run_unit(series, **mine(root)).reason == [""] * 4
    assert run_unit(series, **mine(other, class_name="Forecaster")).reason == [""] * 4
    with pytest.raises(ArmError, match="has no class 'Model' or 'Mine'; it has Forecaster; name"):
        TSLibModel(**mine(other))


CLASS = "class Model:\n    def __init__(self, c):\n        "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import reformer_pytorch", "models/Mine.py needs package 'reformer_pytorch', which is"),
        ("from layers.needy import X", "needs package 'reformer_pytorch', which is not installed"),
        (
            "from layers.nothing import X",
            "line 1 imports 'layers.nothing', which is not in the che",
        ),
        ("import layers.nothing", "line 1 imports 'layers.nothing', which is not in the checkout"),
        (
            "from layers.decomposition import X",
            "line 1 imports 'X' from layers/decomposition.py, which does not define it",
        ),
        ("from layers.hollow import X", "imports 'X' from layers/hollow.py, which is empty"),
        ("def broken(:", "models/Mine.py, line 1 cannot be parsed: invalid syntax"),
        ("from layers.torn import X", "layers/torn.py, line 2 cannot be parsed: "),
        ("", "models/Mine.py has no class 'Model' or 'Mine'; it has none"),
        ("if True:\n    import math", "no class 'Model' or 'Mine'; it has none"),
        (CLASS + "c.n_levels, c.other", "needs config fields 'n_levels', 'other', which are not"),
        (
            "import nobody\nimport nothing\n" + CLASS + "c.x",
            "'nobody', which is not installed; mod",
        ),
        ("from layers import decomposition\nclass A: pass", "no class 'Model' or 'Mine'; it has A"),
        (CLASS + "c.n_levels", "models/Mine.py needs config field 'n_levels', which is not given"),
        (CLASS + "x = (c.seq_len, c.n_levels)", "needs config field 'n_levels'"),
    ],
)
def test_what_the_source_says_is_refused_when_built(tmp_path, text, said):
    """A package, class or field that will be missing in any case is named before anything runs."""
    needy = {
        "layers/needy.py": "import math\nfrom reformer_pytorch import LSH",
        "layers/hollow.py": "",
        "layers/torn.py": "import math\nX = (",
    }
    root = thuml_like(tmp_path, **{"models/Mine.py": text} | needy)

    with pytest.raises(ArmError, match=re.escape(said)) as caught:
        TSLibModel(**mine(root))

    assert "\n" not in str(caught.value)


LAYERS = {
    "models/Mine.py": """
        import layers.deep
        from layers.outer import Outer as Whole
        class Model:
            def __init__(self, configs):
                self.configs = configs
                self.whole = Whole(1, cfg=self.configs)
                self.size = layers.deep.size(configs)
            def forward(self, x):
                return x * self.configs.gain
    """,
    "layers/outer.py": """
        from .deep import Inner
        class Base:
            def __init__(self, args):
                self.width = args.base_width
        class Outer(Base):
            def __init__(self, n, cfg):
                super().__init__(cfg)
                self.parts = [Inner(cfg) for _ in range(cfg.e_layers)]
                self.own(cfg)
            def own(self, c):
                self.kind = c.kind if c.use_kind else None
    """,
    "layers/deep.py": """
        class Inner:
            def __init__(self, c):
                self.k = c.inner_k + getattr(c, "optional", 0)
        def size(c):
            return c.size
    """,
}


def test_fields_that_layers_read_are_named_at_once(tmp_path):
    """Whatever a config is handed to, bases and functions too, its fields stand in one answer."""
    root = checkout(tmp_path, LAYERS)

    with pytest.raises(ArmError) as caught:
        TSLibModel(**mine(root))

    assert str(caught.value) == (
        "models/Mine.py needs config fields 'base_width', 'inner_k', 'use_kind', 'size', which are "
        "not given, nor has run.py a default; under some conditions it reads 'kind', 'gain', too"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "if True:\n    import reformer_pytorch\nclass Model: pass",
            "models/Mine.py needs package 'reformer_pytorch'",
        ),
        (
            "try:\n    from layers.nothing import X\nfinally:\n    Model = 3",
            "imports 'layers.nothing', which is not in the checkout",
        ),
        ("def Model(config):\n    pass", "no class 'Model' or 'Mine'; it has none"),
        ("Model = 3\nclass A: pass", "no class 'Model' or 'Mine'; it has A"),
        (CLASS + "pass", "Model is no torch.nn.Module"),
        (CLASS + "if c.seq_len: c.n_levels", "models/Mine.py needs config field 'n_levels', which"),
        ("import copy\n" + CLASS + "copy.copy(c).n_levels", "needs config field 'n_levels'"),
        (
            CLASS + "raise ValueError('d\\n = 4')",
            "with this config: models/Mine.py, line 3: ValueError: d = 4",
        ),
    ],
)
def test_broken_code_is_one_line(tmp_path, series, text, said):
    """What shows only when the code runs is one line that says which, too."""
    root = thuml_like(tmp_path, **{"models/Mine.py": text})
    TSLibModel(**mine(root))

    reason = only_reason(run_unit(series, **mine(root)))

    assert reason.startswith("ArmError: models/Mine.py")
    assert said in reason


CAUTIOUS = """
    try:
        import reformer_pytorch
    except ImportError:
        reformer_pytorch = None
    if reformer_pytorch:
        import something_else
    import torch
    from torch import nn

    class Model(nn.Module):
        def __init__(self, configs, patch=16):
            super().__init__()
            configs.made_here = 3
            self.configs = configs
            self.width = configs.made_here + getattr(configs, "absent", 0)
            self.kind = configs.kind if hasattr(configs, "kind") else "none"
            self.more = hasattr(configs, "more") and configs.more
            if configs.task_name == "classification":
                self.classes = configs.num_class
            for _ in []:
                configs.never
            if configs.seq_len:
                return
            configs.not_reached

        def forward(self, x_enc, x_mark_enc, x_dec, x_mark_dec):
            return x_enc[:, -1:].expand(-1, self.configs.pred_len, -1)
"""


def test_cautious_code_is_not_refused(tmp_path, series):
    """Optional packages and fields read under a condition are no reason to refuse a model."""
    root = checkout(tmp_path, {"models/Mine.py": CAUTIOUS})

    assert run_unit(series, **mine(root)).reason == [""] * 4


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("return None", "the network returned NoneType, expected a tensor, a dict"),
        ("return {'mean': path, 'sd': path}", "a dict of mean, sd; expected"),
        ("return path[:, :3]", "returned 3 steps, expected pred_len = 6"),
        ("return path.sum()", "expected [B, P, C]"),
        ("return path[..., :0]", "returned no channels (shape [1, 6, 0]), expected [B, P, C]"),
        ("return {'prediction': path, 'quantiles': {'low': path, 'q9': path}}", "label 'low'"),
        ("return {'prediction': path, 'quantiles': {'q0': path, 'q9': path}}", "no level between"),
        ("return {'prediction': path, 'quantiles': path}", "has a last axis of 7"),
        ("return self.configs.kernels", "needs config field 'kernels', which is not given"),
        ("import nowhere_to_be_found", "needs package 'nowhere_to_be_found'"),
    ],
)
def test_answers_that_are_not_understood(tmp_path, series, answer, said):
    """An answer of no known form is a failed window with the form that was found."""
    assert said in only_reason(run_unit(series, **mine(last_value(tmp_path, answer))))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"root": "nowhere"}, "no such folder"),
        ({"root": "empty"}, "has no folder 'models'"),
        ({"model": "Nothing"}, "no models/Nothing.py in root; it has Autoformer, Reformer"),
        ({"model": "../x"}, "expected the name of a module"),
        ({"checkpoint": "none.pth"} | OWN, "checkpoint = 'none.pth': no such file"),
        ({"config": {"d_modle": 8}}, "'d_modle' occurs nowhere in the checkout; did you mean 'd_m"),
        ({"config": {"seq_len": 0}}, "config.seq_len = 0: expected 1 or more"),
        ({"config": {"label_len": 97}}, "config.label_len = 97: expected 0 to 96"),
        ({"config": {"enc_in": 8}}, "there are 7; columns = [...] takes columns of the dataset"),
        ({"config": {"dec_in": 3}}, "config.dec_in = 3: expected enc_in = 7"),
        ({"config": {"freq": "w"}}, "config.freq = 'w': expected one of b, d, h, t, s"),
        ({"config": {"quantile_levels": [1.0]}}, "quantile_levels = [1.0]"),
        ({"epochs": 0}, "epochs = 0: expected 1 or more"),
        ({"epochs": True}, "epochs = True: expected a valid integer"),
        ({"epochs": "3"}, "epochs = '3': expected a valid integer"),
        ({"epochs": 1.5}, "epochs = 1.5: expected a valid integer"),
        ({"train": "false"}, "train = 'false': expected a valid boolean"),
        ({"checkpoint": 3}, "checkpoint = 3: expected a valid string"),
        ({"config": "x"}, "config = 'x': expected a valid dictionary"),
        ({"model_options": 3}, "model_options = 3: expected a valid dictionary"),
        ({"forecast_options": "x"}, "forecast_options = 'x': expected a valid dictionary"),
        ({"device": "banana"}, "device = 'banana': expected cpu, cuda, cuda:1 or auto"),
        ({"root": 3}, "root = 3: expected a valid string"),
    ],
)
def test_wrong_options_are_refused_when_built(tmp_path, monkeypatch, options, said):
    """What can be seen without running the user's code is refused before anything runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    thuml_like(tmp_path / "checkout")
    ref = ArmRef(name="mine", use=USE, role="legacy", options={"root": "checkout"} | options)

    with pytest.raises(ArmError, match=re.escape(said)) as caught:
        ref.build()

    assert str(caught.value).startswith("arm 'mine' (baselines.tslib:TSLibModel): ")
    assert "\n" not in str(caught.value)


def test_shorter_path_than_the_plan_and_nothing_to_train(tmp_path, series):
    """A path shorter than the plan's, and training a network without parameters, are refused."""
    root = last_value(tmp_path, "return path")
    frozen = last_value(tmp_path / "b", "return path")
    (frozen / "models/Mine.py").write_text(
        "import torch\nclass Model(torch.nn.Module):\n    def __init__(self, c):\n"
        "        super().__init__()\n"
    )

    short = only_reason(run_unit(series, **mine(root, config=CONFIG | {"pred_len": 5})))
    untrainable = only_reason(run_unit(series, **mine(frozen, train=True)))

    assert short == "ArmError: config.pred_len = 5: the plan asks for 6 steps"
    assert "set train = false" in untrainable


def test_unfitted_and_short_contexts_are_refused(tmp_path, series):
    """Without a fit, or with too short a context, there is a clear error."""
    arm = TSLibModel(**mine(last_value(tmp_path, "return path")))
    with pytest.raises(ForecastError, match="not fitted"):
        arm.forecast(contexts_of(series, arm))

    arm.fit(context_at(series, 300, plan=PLAN), seed=1)
    contexts = contexts_of(series, arm)
    short = dataclasses.replace(contexts, length=contexts.length - 1)
    with pytest.raises(ForecastError, match="reads 44 sessions"):
        arm.forecast(short)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("return path[:, :3]", "the network returned 3 steps, expected pred_len = 6"),
        ("return path[..., :0]", "the network returned no channels (shape [32, 6, 0])"),
        ("return None", "the network returned NoneType, expected a tensor, a dict"),
    ],
)
def test_answers_that_are_not_understood_are_named_in_training_too(tmp_path, series, answer, said):
    """A network that is trained and answers too little fails with the same words."""
    options = mine(last_value(tmp_path, answer), train=True, **QUICK)

    assert said in only_reason(run_unit(series, **options))


def test_callers_tables_are_copied(tmp_path, series):
    """Whatever is done to config and options after the arm is made, its forecast stays."""
    root = last_value(tmp_path, "return path + (0 if detailed else 1)")
    given = {"config": {"seq_len": 24, "label_len": 12}, "forecast_options": {"detailed": True}}
    arm = TSLibModel(**mine(root, model_options={"scale": 0.2}, **given))
    arm.fit(context_at(series, 300, plan=PLAN), seed=1)
    contexts = contexts_of(series, arm)
    before = arm.forecast(contexts).point

    for table in given.values():
        table.clear()

    assert arm.context_length == 24 + WARM_UP
    assert np.array_equal(before, arm.forecast(contexts).point)


def test_options_are_left_alone_at_any_length(tmp_path):
    """The battery finds no fault of ours in how options are kept (T29)."""
    config = {"seq_len": 40, "label_len": 20, "moving_avg": 5}
    options = {"root": str(thuml_like(tmp_path)), "config": config, "train": False}
    ref = ArmRef(name="mine", use=USE, role="legacy", options=options)

    (result,) = run_battery(arm_subject(ref), ["T29"])

    assert result.outcome == "pass", result.reason


class Anything:
    """Something a pickle of weights must not hold."""


WEIGHTS = {"shift": torch.tensor([0.5])}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "name"),
    [
        (WEIGHTS, "plain.pth"),
        ({"state_dict": WEIGHTS, "epoch": 3}, "nested.pt"),
        ({"model": {"module.shift": WEIGHTS["shift"]}}, "wrapped.pth"),
        (WEIGHTS, "weights.safetensors"),
    ],
)
def test_checkpoints_are_loaded(tmp_path, series, content, name):
    """Weights reach the network from every container, from the checkout's folder too."""
    root = last_value(tmp_path, "return path")
    (save_file if name.endswith("safetensors") else torch.save)(content, root / name)
    arm = TSLibModel(**mine(root, checkpoint=name, **OWN))

    outcome = run_unit(series, **mine(root, checkpoint=name, **OWN))

    log = channels(series.target[: int(PLAN.over(series.dates).origin[0]) - PLAN.validation])
    expected = last_prices(series) * np.exp(0.5 * log[:, 0].std())
    assert np.allclose(outcome.point, expected, rtol=1e-4)
    assert root / name in arm.weight_files()
    assert outcome.card["training"] == f"starts from {name}"


@pytest.mark.slow
def test_training_starts_from_the_checkpoint(tmp_path, series):
    """With train = true the first epoch begins at the checkpoint's weights."""
    root = last_value(tmp_path, "return path")
    torch.save({"shift": torch.tensor([9.0])}, root / "far.pth")
    options = QUICK | {"train": True}

    far = run_unit(series, **mine(root, checkpoint="far.pth", **OWN, **options))
    near = run_unit(series, **mine(root, **options))

    losses = [each.fits[0].training.curve[0].train_loss for each in (far, near)]
    assert losses[0] > 10 * losses[1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"weights": Anything()}, "is refused: it holds more than weights"),
        (Anything(), "torch.load('x.pth', 'cpu', weights_only=False); "),
        ({0: torch.zeros(1)}, "0 are no names of weights; expected texts"),
        ({"shift": 1.0}, "shift are no tensors"),
        ([], "holds no state dict"),
        (
            {"other": torch.zeros(1)},
            "does not fit the network; missing: shift; unexpected: other",
        ),
        ({"shift": torch.zeros(2)}, "of another shape: shift [2] for [1]"),
        (
            {"shift": torch.tensor([float("nan")])},
            "1 of 1 tensors hold NaN: shift; its training di",
        ),
        (b"", "'x.pth' is empty"),
        (b"hello", "cannot be read: it is no file of torch.save; expected one, or .safetensors"),
        (b"PK\x03\x04 and no more", "cannot be read"),
    ],
)
def test_checkpoints_that_are_refused(tmp_path, series, content, said):
    """An unsafe pickle, something else, and weights of another network: one line each."""
    root = last_value(tmp_path, "return path")
    if isinstance(content, bytes):
        (root / "x.pth").write_bytes(content)
    else:
        torch.save(content, root / "x.pth")

    reason = only_reason(run_unit(series, **mine(root, checkpoint="x.pth", **OWN)))

    assert reason.startswith("ArmError: checkpoint 'x.pth'")
    assert said in reason
    assert len(reason) < 500


def test_code_and_weights_decide_the_identity(tmp_path):
    """An edit of a file the model imports is another result, an edit of another file is not."""
    files = {
        "models/Autoformer.py": "from models.base import parts as B\nfrom blocks import deep\n"
        + dedent(THUML_LIKE),
        "models/base/__init__.py": "from . import parts\n",
        "models/base/parts.py": "",
        "blocks/__init__.py": "",
        "blocks/deep.py": "",
        "utils/__init__.py": "",
    }
    root = thuml_like(tmp_path, **files)
    torch.save(WEIGHTS, root / "x.pth")

    def found():
        ref = ArmRef(
            name="mine",
            use=USE,
            role="legacy",
            options={"root": str(root), "checkpoint": str(root / "x.pth")} | OWN,
        )
        mine = identity.arm_identity(ref, ref.build())
        line = identity.line_identity(mine, plan=PLAN, seed=1, threads=1)
        return line["weights"]

    before = found()
    deciding = [
        "models/Autoformer.py",
        "models/base/parts.py",
        "blocks/deep.py",
        "layers/__init__.py",
        "layers/decomposition.py",
        "utils/__init__.py",
        "utils/tools.py",
        "x.pth",
    ]
    assert {"layers/__init__.py", "utils/__init__.py", "x.pth", "tools.py"} <= set(before)
    for name in [*deciding, "models/Reformer.py", "run.py"]:
        content = (root / name).read_bytes()
        (root / name).write_bytes(content + b"\n#")
        assert (found() != before) == (name in deciding), name
        (root / name).write_bytes(content)
    assert found() == before


def test_prediction_of_nested_answers():
    """A prediction is found inside a tuple inside a dict."""
    path = torch.zeros(1, 2, 3)

    assert prediction({"prediction": (path, None)}) is path
    with pytest.raises(ForecastError, match="tuple"):
        prediction(())


@pytest.mark.slow
def test_example_of_the_guide_runs(tmp_path, monkeypatch, capsys):
    """The guide's experiment, with a checkout where it says, ends in a verdict and a page.

    In this process: the guide for arms runs in processes of its own (`tests/test_docs.py`).
    """
    guide = Path(__file__).parents[2] / "docs" / "your-own-legacy-code.md"
    text = re.findall(r"```toml\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)[0]
    (tmp_path / "trial.toml").write_text(text, encoding="utf-8")
    root = thuml_like(tmp_path / "Time-Series-Library")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fill, "LocalProcesses", InThisProcess)
    monkeypatch.setattr(compare, "try_blindness", lambda *_, **__: None)

    code = run_cli(["compare", "trial.toml"])

    printed = capsys.readouterr()
    assert code in (0, 3, 4), printed.err
    assert "FAILED" not in printed.err
    assert next(Path("runs").rglob("report.html")).stat().st_size > 10_000
    assert not list(root.rglob("__pycache__"))

    (root / "models" / "Autoformer.py").write_text("import reformer_pytorch\n")
    code = run_cli(["run", "trial.toml"])
    printed = capsys.readouterr()
    assert (code, printed.out, printed.err.count("\n")) == (2, "", 1)
    assert "arm 'our Autoformer'" in printed.err
    assert "needs package 'reformer_pytorch', which is not installed" in printed.err


@pytest.mark.parametrize("label", ["100%", "q100"])
def test_label_that_is_no_level_fails_the_window(tmp_path, series, label):
    """A quantile labelled 100 is refused by name, not read as a tenth."""
    answer = f"return {{'prediction': path, 'quantiles': {{'{label}': path + 1, 'q10': path}}}}"

    reason = only_reason(run_unit(series, **mine(last_value(tmp_path, answer))))

    assert f"label '{label}', which is no level between 0 and 1" in reason


RUN_PY = """
    import argparse, a_package_nobody_has
    parser = argparse.ArgumentParser()
    parser.add_argument('--hidden', '-H', type=int, nargs='+', default=[128, 128], help='sizes')
    parser.add_argument('--top-k', type=int, default='5')
    parser.add_argument('--distil', action='store_false')
    parser.add_argument('--use_norm', action='store_true')
    parser.add_argument('--gpu', default=torch.cuda.device_count())
    parser.add_argument('--d_model', type=int, default=16)
    parser.add_argument('--pred_len', type=int, default=96)
    parser.add_argument('--enc_in', type=int, default=3)
    parser.add_argument('--freq', default='h')
    parser.set_defaults(expand=2)
    raise RuntimeError('run.py was run')
"""


@pytest.mark.parametrize("script", ["run.py", "run_longExp.py", "main_informer.py"])
def test_fields_have_the_defaults_of_run_py(tmp_path, series, script):
    """Fields that are not given are those of the checkout's script, parsed and not run."""
    answer = "c = self.configs; return path + 0 * len([c.hidden, c.top_k, c.expand, c.batch_size])"
    root = last_value(tmp_path, answer, **{script: RUN_PY})
    arm = TSLibModel(root=str(root), model="Mine", train=False, config={"seq_len": 24})
    arm.load()
    arm.fit(context_at(series, 300, plan=PLAN), seed=1)

    found = vars(arm._network.configs)

    assert found["hidden"] == [128, 128]
    assert (found["top_k"], found["expand"], found["d_model"]) == (5, 2, 16)
    assert (found["distil"], found["use_norm"]) == (True, False)
    assert (found["pred_len"], found["enc_in"], found["freq"]) == (6, 7, "d")
    assert (found["batch_size"], found["train_epochs"]) == (32, 10)
    assert "gpu" not in found


def test_error_inside_the_model_names_its_line(tmp_path, series):
    """A shape that does not fit is told with the file and line of the checkout it is in."""
    outcome = run_unit(series, **mine(last_value(tmp_path, "return path + x_dec")))

    reason = only_reason(outcome)

    assert reason.startswith("ArmError: models/Mine.py, line 14: RuntimeError: The size of tensor")
    assert "models/Mine.py" in outcome.trace


def test_training_that_diverges_says_so(tmp_path, series):
    """Where no epoch has a finite loss, the reason is that, with the learning rate."""
    root = last_value(tmp_path, "return path + self.shift * 1e30")

    reason = only_reason(
        run_unit(series, **mine(root, train=True, **QUICK | {"learning_rate": 1e20}))
    )

    assert reason.startswith("ForecastError: training diverged: train loss nan")
    assert reason.endswith("in epoch 1 (learning_rate 1e+20)")
