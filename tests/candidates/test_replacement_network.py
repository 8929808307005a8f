"""The replacement as a network: the legacy contract, in, out and in between."""

import contextlib
import copy
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

import candidates
from candidates.replacement.hf_bayesian import HFBayesianAutoformer, Model
from candidates.replacement.hf_quantile import HFQuantileAutoformer
from candidates.replacement.loading import BUNDLED, load_pipeline
from candidates.replacement.options import ReplacementConfigError
from harness.errors import ArmError, ForecastError

FIELDS = {"seq_len": 48, "label_len": 24, "pred_len": 12, "enc_in": 3, "dec_in": 3, "c_out": 3}
KINDS = ["t5", "bolt", "chronos2"]
LEVELS = [0.1, 0.25, 0.5, 0.75, 0.9]


def inputs_of(count=3, *, seed=0, fields=FIELDS):
    generator = torch.Generator().manual_seed(seed)

    def draw(steps, channels):
        return torch.randn(count, steps, channels, generator=generator)

    label = fields["label_len"] + fields["pred_len"]
    x_enc = 5.0 + draw(fields["seq_len"], fields["enc_in"])
    x_dec = torch.zeros(count, label, fields["enc_in"])
    return x_enc, draw(fields["seq_len"], 4), x_dec, draw(label, 4)


@pytest.fixture(scope="module", params=KINDS)
def network(request, tiny):
    return HFBayesianAutoformer(FIELDS, backbone=tiny[request.param])


@pytest.fixture
def bundled():
    return HFBayesianAutoformer(FIELDS)


def test_forecast_has_the_contracts_shape_and_no_graph(network):
    """[B, pred_len, c_out]; evaluation builds no graph, whatever the caller's grad mode."""
    with torch.enable_grad():
        found = network.eval()(*inputs_of())

    assert found.shape == (3, 12, 3)
    assert not found.requires_grad


@pytest.mark.slow
def test_report_has_the_legacy_layout(network):
    """The keys and shapes a caller of the legacy uncertainty call reads."""
    report = network.eval()(*inputs_of(), return_uncertainty=True)
    detailed = network(*inputs_of(), return_uncertainty=True, detailed_uncertainty=True)

    for name in ("prediction", "uncertainty", "variance"):
        assert report[name].shape == (3, 12, 3)
    assert set(report["confidence_intervals"]) == {"68%", "95%", "99%"}
    for band in report["confidence_intervals"].values():
        assert torch.allclose(band["width"], band["upper"] - band["lower"])
    assert list(report["quantiles"]) == ["q10", "q25", "q50", "q75", "q90"]
    assert detailed["predictions_samples"].shape == (50, 3, 12, 3)
    assert torch.allclose(report["uncertainty"].square(), report["variance"])


def test_intervals_are_nested_and_quantiles_in_order(network):
    """The 68 lies in the 95, the 95 in the 99 % interval, the median in all of them."""
    report = network.eval()(*inputs_of(), return_uncertainty=True)
    bands = [report["confidence_intervals"][name] for name in ("99%", "95%", "68%")]
    edges = [band["lower"] for band in bands] + [report["prediction"]]
    edges += [band["upper"] for band in reversed(bands)]

    assert all((b >= a).all() for a, b in pairwise(edges))
    quantiles = torch.stack(list(report["quantiles"].values()))
    assert (quantiles.diff(dim=0) >= 0).all()


def test_levels_beyond_the_backbones_are_flagged(tiny):
    """A report says which of its levels were extrapolated."""
    short = HFBayesianAutoformer(FIELDS, backbone=tiny["bolt"]).eval()

    flagged = short(*inputs_of(), return_uncertainty=True)["extrapolated"]

    assert flagged == pytest.approx((0.005, 0.025, 0.975, 0.995))


def test_prediction_is_the_forecast(bundled):
    """The report's point forecast is the plain one: the median."""
    bundled.eval()
    report = bundled(*inputs_of(), return_uncertainty=True)

    assert torch.equal(report["prediction"], bundled(*inputs_of()))
    assert torch.equal(report["prediction"], report["quantiles"]["q50"])


def test_labels_of_close_levels_do_not_collide():
    """A level is named in full: 2.5 % is not 2 %."""
    network = HFBayesianAutoformer(FIELDS | {"quantile_levels": [0.02, 0.025, 0.29, 0.57]}).eval()

    report = network(*inputs_of(), return_uncertainty=True)

    assert list(report["quantiles"]) == ["q2", "q2.5", "q29", "q57"]


def test_quantile_mode_is_target_major(tiny):
    """Channel t * nq + q of the output is the quantile reported by its label."""
    fields = FIELDS | {"quantile_levels": LEVELS, "c_out": 15, "c_out_evaluation": 3}
    network = HFBayesianAutoformer(fields, backbone=tiny["bolt"]).eval()

    path = network(*inputs_of())
    report = network(*inputs_of(), return_uncertainty=True)

    assert path.shape == report["prediction"].shape == report["uncertainty"].shape == (3, 12, 15)
    for place, level in enumerate(LEVELS):
        channels = path[..., place::5]
        named = report["quantile_specific"][f"quantile_{level}"]["prediction"]
        assert torch.allclose(channels, named, atol=1e-6)
        assert torch.allclose(channels, report["quantiles"][f"q{100 * level:g}"], atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "horizon"),
    [("bolt", 12), ("bolt", 150), (BUNDLED, 12), (BUNDLED, 150), ("chronos2", 12)],
)
def test_one_target_is_forecast_as_by_the_library(tiny, kind, horizon):
    """The same numbers as from chronos-forecasting's pipeline, in order."""
    folder = tiny.get(kind, BUNDLED)
    fields = FIELDS | {"enc_in": 1, "c_out": 1, "pred_len": horizon}
    network = HFBayesianAutoformer(fields, backbone=folder).eval()
    pipeline = load_pipeline(network.options.source)
    x_enc = 5.0 + torch.randn(3, 48, 1, generator=torch.Generator().manual_seed(0))

    found = network(x_enc, None, None, None)[..., 0]

    with (
        pytest.warns(UserWarning, match="We recommend")
        if horizon > 64
        else contextlib.nullcontext()
    ):
        series = x_enc.transpose(1, 2) if kind == "chronos2" else x_enc[..., 0]
        answer = pipeline.predict(series, prediction_length=horizon)
    answer = torch.cat(list(answer)) if kind == "chronos2" else answer
    theirs = answer.sort(dim=1).values[:, pipeline.quantiles.index(0.5)]
    assert torch.allclose(found, theirs, rtol=1e-4, atol=1e-4)


def test_horizon_beyond_chronos2_is_refused(tiny):
    """It says how far it reaches instead of making something up."""
    fields = FIELDS | {"pred_len": 65}
    network = HFBayesianAutoformer(fields, backbone=tiny["chronos2"])

    with pytest.raises(ForecastError, match="at most 64"):
        network.eval()(*inputs_of(fields=fields))


def test_targets_of_univariate_backbones_are_forecast_alone(tiny):
    """Another channel, and the calendar, change nothing."""
    network = HFBayesianAutoformer(FIELDS, backbone=tiny["bolt"]).eval()
    x_enc, marks, x_dec, later = inputs_of()
    other = x_enc.clone()
    other[..., 1:] *= 2.0

    first, second = network(x_enc, marks, x_dec, later), network(other, -marks, x_dec, -later)

    assert torch.equal(first[..., 0], second[..., 0])
    assert not torch.equal(first[..., 1], second[..., 1])
    assert not network.reads_covariates


def test_chronos2_reads_other_channels_and_the_calendar(tiny):
    """Past of other channels, marks ahead, and covariates ahead where they are given."""
    fields = FIELDS | {"c_out": 1}
    network = HFBayesianAutoformer(fields, backbone=tiny["chronos2"]).eval()
    x_enc, marks, x_dec, later = inputs_of()
    other, known = x_enc.clone(), x_dec.clone()
    other[..., 1:] *= -1.0
    known[:, -12:, 1:] = torch.linspace(3.0, 9.0, 12)[:, None]
    base = network(x_enc, marks, x_dec, later)

    assert base.shape == (3, 12, 1)
    assert network.reads_covariates
    for changed in (
        network(other, marks, x_dec, later),
        network(x_enc, marks, x_dec, -later),
        network(x_enc, marks, known, later),
    ):
        assert not torch.allclose(base, changed)
    hidden = x_dec.clone()
    hidden[:, -12:, 0] = 99.0  # where the truth would be
    assert torch.equal(base, network(x_enc, marks, hidden, later))


def test_covariate_that_never_varied_cannot_blow_up_chronos2(tiny):
    """A mark that changes for the first time ahead is not scaled by a spread of nothing."""
    network = HFBayesianAutoformer(FIELDS, backbone=tiny["chronos2"]).eval()
    x_enc, marks, x_dec, later = inputs_of()
    flat = torch.zeros_like(marks)

    assert torch.equal(
        network(x_enc, flat, x_dec, torch.zeros_like(later)), network(x_enc, flat, x_dec, later)
    )


@pytest.mark.slow
def test_last_columns_may_be_the_targets(bundled):
    """Time-Series-Library's loaders put the target last: so it is with features MS."""
    fields = FIELDS | {"c_out": 1, "features": "MS"}
    first, last = (
        HFBayesianAutoformer(fields, target_columns=place).eval() for place in ("first", "last")
    )
    whole = bundled.eval()(*inputs_of())

    assert torch.allclose(whole[..., :1], first(*inputs_of()), atol=1e-5)
    assert torch.allclose(whole[..., 2:], last(*inputs_of()), atol=1e-5)
    by_rule = HFBayesianAutoformer(fields).eval()
    assert torch.equal(by_rule(*inputs_of()), last(*inputs_of()))
    legacy = HFBayesianAutoformer({k: v for k, v in fields.items() if k != "features"}).eval()
    assert torch.equal(legacy(*inputs_of()), first(*inputs_of()))


@pytest.mark.parametrize("features", ["M", "S"])
def test_layout_that_no_rule_settles_is_refused(features):
    """Fewer outputs than inputs with features M or S: where the targets are has to be said."""
    fields = FIELDS | {"c_out": 1, "features": features}

    with pytest.raises(ReplacementConfigError, match="hf_target_columns"):
        HFBayesianAutoformer(fields)
    HFBayesianAutoformer(fields, target_columns="first")


@pytest.mark.slow
def test_inputs_modes_and_generators_are_left_alone(network):
    """Any call, in either mode, and one that fails."""
    inputs = inputs_of()
    before, state = [tensor.clone() for tensor in inputs], torch.get_rng_state()
    for training in (True, False):
        network.train(training)
        network.backbone.model.get_submodule("encoder").eval()
        modes = [part.training for part in network.modules()]
        for asked in (False, True):
            network(*inputs, asked)
        with pytest.raises(ValueError, match="expected"):
            network(inputs[0][..., :2], *inputs[1:])
        assert modes == [part.training for part in network.modules()]
    network.eval()
    torch.set_rng_state(state)
    network(*inputs, return_uncertainty=True)

    assert all(torch.equal(a, b) for a, b in zip(before, inputs, strict=True))
    assert torch.equal(state, torch.get_rng_state())


def test_history_without_a_value_is_refused(bundled):
    """A target of NaN alone has no forecast; gaps have one."""
    x_enc, *rest = inputs_of()
    x_enc[1, 10:20, 0] = torch.nan

    assert bundled.eval()(x_enc, *rest).isfinite().all()
    x_enc[1, :, 0] = torch.nan
    with pytest.raises(ValueError, match="no value"):
        bundled(x_enc, *rest)


@pytest.mark.slow
def test_training_lowers_the_loss(network):
    """A standard loop learns, and its gradient reaches every parameter of the backbone."""
    network = copy.deepcopy(network).train()
    x_enc, *rest = inputs_of(4)
    truth = x_enc[:, -12:] + 3.0
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = (network(x_enc, *rest) - truth).square().mean()
        loss.backward()
        assert all(p.grad is not None for p in network.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))

    assert losses[-1] < 0.9 * losses[0]


def test_gradient_is_the_slope(bundled):
    """Autograd and differences agree through quantiles, order and extrapolation."""
    bias = bundled.train().backbone.head().output_layer.bias

    def width():
        report = bundled(*inputs_of(), return_uncertainty=True)
        return report["confidence_intervals"]["99%"]["width"].mean()

    (found,) = torch.autograd.grad(width(), [bias])
    direction = found / found.norm()
    with torch.no_grad():
        bias += 1e-3 * direction
        above = float(width())
        bias -= 2e-3 * direction
        below = float(width())

    assert float(found.norm()) == pytest.approx((above - below) / 2e-3, rel=0.05)


def test_frozen_backbone_learns_in_its_head_only(tiny):
    """One step moves the output layer and nothing else."""
    network = HFBayesianAutoformer(FIELDS, backbone=tiny["bolt"], freeze_backbone=True).train()
    before = copy.deepcopy(network.state_dict())
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    network(*inputs_of()).square().mean().backward()
    optimizer.step()

    moved = {n for n, v in network.state_dict().items() if not torch.equal(v, before[n])}

    assert moved
    assert all("output_patch_embedding" in name for name in moved)


def test_own_loss_trains_the_distribution(bundled):
    """The loss an experiment asks the model for adds the quantile loss of the same forecast."""
    bundled.train()
    x_enc, *rest = inputs_of()
    truth = x_enc[:, -12:]
    criterion = torch.nn.MSELoss()

    plain = criterion(bundled(x_enc, *rest), truth)
    parts = bundled.compute_loss(bundled(x_enc, *rest), truth, criterion, return_components=True)
    bundled.eval()
    judged = bundled.configure_optimizer_loss(criterion)(bundled(x_enc, *rest), truth)

    assert float(parts["data_loss"].detach()) == pytest.approx(float(plain.detach()))
    assert parts["distribution_loss"] > 0
    assert parts["total_loss"] == parts["data_loss"] + parts["distribution_loss"]
    assert float(judged) == pytest.approx(float(plain.detach()), rel=1e-5)


def test_network_can_be_copied_after_a_training_step(bundled):
    """An average of weights starts from a copy; what was remembered for the loss stays behind."""
    bundled.train()(*inputs_of())

    assert copy.deepcopy(bundled).eval()(*inputs_of()).shape == (3, 12, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_network_comes_back(tiny, tmp_path, kind):
    """Weights, fields and options; the folder is a Chronos checkpoint of its own."""
    network = HFBayesianAutoformer(FIELDS, backbone=tiny[kind], seed=3).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.01

    network.save_pretrained(tmp_path)
    found = HFBayesianAutoformer.from_pretrained(tmp_path).eval()
    other = HFBayesianAutoformer(FIELDS, backbone=str(tmp_path), seed=3).eval()
    fresh = HFBayesianAutoformer(FIELDS, backbone=tiny[kind], seed=3).eval()
    fresh.load_state_dict(network.state_dict(), strict=True)

    wanted = network(*inputs_of())
    for each in (found, other, fresh):
        assert torch.equal(wanted, each(*inputs_of()))
    assert found.options.seed == 3


def test_folder_without_a_network_is_refused(tmp_path):
    """The file that is missing is named."""
    with pytest.raises(ArmError, match=r"replacement\.json"):
        HFBayesianAutoformer.from_pretrained(tmp_path)


def test_configuration_is_copied(bundled):
    """A namespace and a mapping give the same network; neither is changed or read again."""
    config = SimpleNamespace(**FIELDS, data="custom", d_model=512, hf_backbone=BUNDLED)
    before = dict(vars(config))
    network = Model(config).eval()
    assert vars(config) == before
    config.pred_len = 5

    assert torch.equal(bundled.eval()(*inputs_of()), network(*inputs_of()))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({k: v for k, v in FIELDS.items() if k != "pred_len"}, "missing field pred_len"),
        (FIELDS | {"seq_len": "96"}, "seq_len: found '96'"),
        (FIELDS | {"c_out": True}, "c_out: found True"),
        (FIELDS | {"c_out": 7}, "c_out: found 7"),
        (FIELDS | {"c_out": 4, "c_out_evaluation": 1}, "c_out: found 4"),
        (FIELDS | {"task_name": "imputation"}, "task_name: found 'imputation'"),
        (FIELDS | {"features": "X"}, "features: found 'X'"),
        (FIELDS | {"quantile_levels": [0.5, 1.5]}, "quantile_levels"),
        (FIELDS | {"quantile_levels": [0.5, 0.5]}, "each level once"),
        (FIELDS | {"hf_backbon": "x"}, "unknown option backbon"),
        (FIELDS | {"hf_freeze_backbone": "yes"}, "freeze_backbone: found 'yes'"),
        ([96, 24], "config: found list"),
        ("config.yaml", "config: found str"),
        (None, "config: found NoneType"),
    ],
)
def test_wrong_configuration_is_refused_by_name(config, said):
    """What is missing, of the wrong type or out of range is named when it is built."""
    with pytest.raises(ReplacementConfigError, match=said):
        HFBayesianAutoformer(config)


def test_networks_are_built_by_name(tiny):
    """The mirror of `baselines.build`: by name, unknown names and options refused."""
    built = candidates.build("HFQuantileAutoformer", FIELDS, quantiles=[0.2, 0.5, 0.8])

    assert isinstance(built, HFQuantileAutoformer)
    with pytest.raises(ReplacementConfigError, match="known are HFBayesianAutoformer"):
        candidates.build("HFBayesian", FIELDS)
    with pytest.raises(ReplacementConfigError, match="unknown option backbon; known options"):
        candidates.build("HFBayesianAutoformer", FIELDS, backbon="x")


def test_quantile_adapter_has_its_layout(tiny):
    """Target-major quantiles, the dictionary of `predict_quantiles`, widths by target and step."""
    network = HFQuantileAutoformer(FIELDS, backbone=tiny["bolt"]).train()
    inputs = inputs_of()
    modes = [part.training for part in network.modules()]
    found = network.predict_quantiles(inputs)
    metrics = network.get_uncertainty_metrics(inputs)
    assert modes == [part.training for part in network.modules()]

    path = network.eval()(*inputs, None, None, None)

    assert path.shape == (3, 12, 9)
    assert torch.equal(path.unflatten(-1, (3, 3)), found["quantiles"])
    assert torch.equal(found["median"], path[..., 1::3])
    assert metrics["per_target"].shape == (3,)
    assert metrics["per_step"].shape == (12,)
    assert torch.allclose(metrics["width"], found["upper_bound"] - found["lower_bound"])


def test_quantile_loss_is_the_pinball_loss(tiny):
    """Against a plain loop over targets and levels."""
    network = HFQuantileAutoformer(FIELDS, backbone=tiny["bolt"])
    prediction, truth = torch.randn(2, 12, 9), torch.randn(2, 12, 3)
    total = 0.0
    for target in range(3):
        for place, level in enumerate((0.1, 0.5, 0.9)):
            error = truth[..., target] - prediction[..., 3 * target + place]
            total += float(torch.where(error > 0, level * error, (level - 1) * error).mean())

    assert float(network.quantile_loss(prediction, truth)) == pytest.approx(total / 9)


def test_adapters_come_back_from_a_folder(tiny, tmp_path):
    """Each class restores itself, its layout included."""
    for name in ("HFQuantileAutoformer", "HFHierarchicalAutoformer"):
        network = candidates.build(name, FIELDS, backbone=tiny["bolt"]).eval()
        network.save_pretrained(tmp_path / name)
        found = type(network).from_pretrained(tmp_path / name).eval()
        assert torch.equal(network(*inputs_of()), found(*inputs_of()))
