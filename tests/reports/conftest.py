"""A page made of synthetic forecasts on a synthetic market: everything a report can show."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from harness.arm import Role
from harness.evidence.comparison import (
    Comparison,
    Effect,
    LagAndBlock,
    Planning,
    Sample,
    Variances,
)
from harness.evidence.estimand import ESTIMANDS
from harness.evidence.estimates import Estimate, Question
from harness.evidence.pairing import FailedWindows
from harness.forecast import LEVELS, Forecast
from harness.judging.declared import Cell, OriginPlan, PlanRecord
from harness.judging.fact import FactCode, fact
from harness.judging.findings import Finding, Outcome
from harness.judging.reference import AgainstReference
from harness.judging.validity import UnitHealth, Validity
from harness.judging.verdict import Verdict
from harness.reasons import ReasonCode, reason
from harness.running.stored_cell import CellRecord, FitFacts, StoredCell
from harness.scoring.scores import Truth, UnitScores, score
from harness.scoring.summary import MetricSummary, summarise
from harness.stats.longrun import DieboldMariano
from harness.window import Array, RollingOrigin, Series, Windows
from reports.page_input import ArmFacts, DatasetFacts, PageInput

HORIZON = 6
CARD = {
    "checkpoint": "chronos-bolt-synthetic",
    "origin": "ours, 2.7 million parameters, pretrained on synthetic series only",
    "pretraining data": "no market data",
}
ARMS: Mapping[str, tuple[Role, tuple[int, ...], float]] = {
    "random-walk": ("reference", (1,), 1.0),
    "volatility-walk": ("reference", (1,), 0.99),
    "autoformer": ("legacy", (1, 2), 1.35),
    "autoformer-repaired": ("legacy", (1, 2), 1.18),
    "chronos-96": ("candidate", (1,), 1.02),
    "chronos-512": ("candidate", (1,), 0.97),
}


@pytest.fixture(scope="session", autouse=True)
def _charts_are_drawn_once(known_charts: dict[bytes, str]) -> None:
    """Most pages of these tests show the same market."""


def make_series(seed: int, sessions: int = 500) -> Series:
    """A random walk on working days."""
    moves = np.random.default_rng(seed).normal(0.0002, 0.011, sessions)
    days = np.busday_offset("2019-01-01", np.arange(sessions), roll="forward")
    return Series(
        dates=days.astype("datetime64[D]"),
        target=np.round(1000 * np.exp(np.cumsum(moves)), 2),
        past=np.empty((sessions, 0)),
        past_names=(),
        weekmask="1111100",
        season=5,
    )


def make_forecast(
    series: Series, windows: Windows, *, noise: float, seed: int, width: float = 1.0
) -> Forecast:
    """A log-normal forecast around a last price that was misread by `noise` per cent."""
    from scipy.stats import norm

    rng = np.random.default_rng(seed)
    last = series.target[windows.origin - 1]
    steps = np.sqrt(np.arange(1, windows.horizon + 1))
    centre = np.log(last)[:, None] + rng.normal(0, noise / 100, (len(windows), windows.horizon))
    spread = width * 0.011 * steps
    quantiles = np.exp(centre[..., None] + spread[:, None] * norm.ppf(LEVELS))
    return Forecast.of_quantiles(quantiles, LEVELS)


def make_estimate(method: Any, effect: float, half: float, bound: float) -> Estimate:
    """An estimate with a symmetric interval."""
    within, beyond = effect + half < bound, effect - half > bound
    return Estimate(
        method=method,
        n=20,
        effect=effect,
        low=effect - 1.2 * half,
        high=effect + 1.2 * half,
        lower=effect - half,
        upper=effect + half,
        p_within=0.01 if within else 0.3,
        p_beyond=0.01 if beyond else 0.6,
        conclusion="within" if within else "beyond" if beyond else "undecided",
    )


def make_finding(
    metric: str,
    dataset: str,
    outcome: Outcome,
    *,
    effect: float | None = -0.02,
    half: float = 0.03,
    bound: float = 0.05,
    role: Any = "guardrail",
) -> Finding:
    """A finding with all its numbers; without an effect, one that has none."""
    estimand = ESTIMANDS.get(metric)
    compared = None if role == "limit" else make_comparison(metric, dataset, effect, half, bound)
    return Finding(
        id=f"{dataset}:{metric}:{role}",
        metric=metric,
        dataset=dataset,
        role=role,
        outcome=outcome,
        bound=bound,
        value=effect,
        comparison=compared,
        estimand=estimand,
        unit="share" if estimand is None else estimand.unit,
        found=fact(_SHOWN[outcome]) if compared else _FAILURES[outcome is Outcome.PROMOTE],
    )


_SHOWN = {
    Outcome.PROMOTE: FactCode.WITHIN,
    Outcome.REJECT: FactCode.BEYOND,
    Outcome.HOLD: FactCode.UNDECIDED,
    Outcome.INVALID: FactCode.UNDECIDED,
}
_FAILURES = [
    fact(
        FactCode.FAILURES,
        dataset="ALPHA",
        side="candidate",
        arm="chronos-512",
        failed=0 if kept else 2,
        windows=20,
        limit=0,
        kept=kept,
    )
    for kept in (False, True)
]


def make_comparison(
    metric: str, dataset: str, effect: float | None, half: float, bound: float
) -> Comparison:
    """A comparison around an effect; without one, with a reason."""
    made = ()
    if effect is not None:
        made = tuple(
            make_estimate(method, effect, half * factor, bound)
            for method, factor in (("hac", 1.0), ("bootstrap", 1.1), ("independent", 1.6))
        )
    low, high = ESTIMANDS[metric].bounds(bound)
    return Comparison(
        question=Question(estimand=ESTIMANDS[metric], bound_low=low, bound_high=high),
        dataset=dataset,
        candidate="chronos-512",
        legacy="autoformer",
        sample=Sample(n=20, overlap=2, independent_n=10, candidate_seeds=1, legacy_seeds=2),
        failed=FailedWindows(),
        effect=Effect(value=effect, candidate=0.012, legacy=0.0123, seed_low=-0.05, seed_high=0.01),
        variances=Variances(
            rho=0.0,
            lean=0.0,
            effective_n=14.2,
            origins=1e-4,
            candidate_seeds=0.0,
            legacy_seeds=1e-4,
            level=None,
            level_covariance=None,
        ),
        lengths=LagAndBlock(lag=1, block=3, resamples=2000),
        estimates=made,
        equality=DieboldMariano(statistic=-1.4, p_value=0.17),
        planning=Planning(detectable=0.08, more_origins=31, decided_by="2026-05-04"),
        reason=None if effect is not None else reason(ReasonCode.NO_SCORES),
    )


Market = tuple[dict[Any, StoredCell], list[UnitScores], list[MetricSummary]]
_KNOWN: dict[str | None, Market] = {}
"""Markets by the arguments they were made of: most tests show one of a few."""


@dataclasses.dataclass
class Maker:
    """Makes pages; each argument takes something away or changes it."""

    horizon: int = HORIZON
    origins: int = 20
    stride: int = 3
    epochs: int = 12

    def __call__(
        self,
        *,
        outcome: Outcome = Outcome.HOLD,
        datasets: Sequence[str] = ("ALPHA", "BETA"),
        series: Mapping[str, Series] | None = None,
        findings: Sequence[Finding] | None = None,
        fail: Mapping[str, int] | None = None,
        arms: Mapping[str, tuple[Role, tuple[int, ...], float]] = ARMS,
    ) -> PageInput:
        """Make a whole page; `fail` lets the first windows of an arm fail."""
        plan = RollingOrigin(
            horizon=self.horizon, stride=self.stride, origins=self.origins, validation=100
        )
        named = None if series else repr((self, datasets, fail, arms))
        series = series or {name: make_series(at) for at, name in enumerate(datasets, 1)}
        market = _KNOWN.get(named) or self.market(series, plan, fail or {}, arms)
        if named:
            _KNOWN[named] = market
        answers, scores, summaries = dict(market[0]), list(market[1]), list(market[2])
        units = {key: given.record for key, given in answers.items()}
        verdict = self.verdict(outcome, scores, findings, summaries)
        return PageInput(
            verdict=verdict,
            title="Synthetic market, two datasets",
            experiment_text='title = "Synthetic market"\ndatasets = ["ALPHA", "BETA"]\n',
            summaries=summaries,
            scores=scores,
            units=units,
            answers=answers,
            curves={key: self.curve(key) for key in units},
            datasets={name: facts(name, each, plan) for name, each in series.items()},
            arms=[arm_facts(arm, role) for arm, (role, _, _) in arms.items()],
            environment={"workers": "2"},
            versions={"python": "3.11.9", "numpy": "2.1.0"},
            fingerprints={"meaning": "9f" * 32, "machine": "3c" * 32},
            judged_at="2023-11-02T03:04:05",
        )

    def market(
        self,
        series: Mapping[str, Series],
        plan: RollingOrigin,
        fail: Mapping[str, int],
        arms: Mapping[str, tuple[Role, tuple[int, ...], float]],
    ) -> Market:
        """Forecasts, scores and their summaries; nobody may write into them."""
        answers: dict[Any, StoredCell] = {}
        scores: list[UnitScores] = []
        for name, each in series.items():
            windows = plan.over(each.dates)
            truth = Truth.of(name, each, windows)
            for arm, (role, seeds, noise) in arms.items():
                for seed in seeds:
                    key = (arm, name, seed)
                    answers[key], scored = self.unit(key, role, each, windows, truth, noise, fail)
                    scores.append(scored)
                    for values in scored.values.values():
                        values.flags.writeable = False
        return answers, scores, summarise(scores, reference="random-walk")

    def unit(
        self,
        key: tuple[str, str, int],
        role: Role,
        series: Series,
        windows: Windows,
        truth: Truth,
        noise: float,
        fail: Mapping[str, int],
    ) -> tuple[StoredCell, UnitScores]:
        """The forecasts of one stored unit with their scores."""
        forecast = make_forecast(
            series, windows, noise=noise, seed=key[2] + len(key[0]), width=2 - noise
        )
        reasons = [
            "ValueError: too hot" if w < fail.get(key[0], 0) else "" for w in range(len(windows))
        ]
        forecast = spoiled(forecast, fail.get(key[0], 0))
        learns = role == "legacy"
        answers = StoredCell(
            record=timed(key, learns=learns, reasons=reasons),
            origin=windows.origin,
            last_date=series.dates[windows.origin - 1],
            reason=tuple(reasons),
            forecast=forecast,
        )
        scored = score(
            truth,
            forecast,
            arm=key[0],
            role=role,
            seed=key[2],
            reasons=reasons,
            residual_distribution=learns,
        )
        return answers, scored

    def curve(self, key: tuple[str, str, int]) -> dict[str, Array]:
        """A training curve for arms that learn."""
        if not key[0].startswith("autoformer"):
            return {}
        epoch = np.arange(1, self.epochs + 1, dtype=float)
        rng = np.random.default_rng(key[2])
        return {
            "fitted_at": np.full(self.epochs, 380),
            "epoch": epoch,
            "train_loss": 0.5 + 0.8 * np.exp(-epoch / 3) + rng.normal(0, 0.01, self.epochs),
            "validation_loss": 0.7 + 0.5 * np.exp(-epoch / 2) + 0.01 * key[2] * epoch,
            "learning_rate": np.full(self.epochs, 1e-3),
            "gradient_norm": np.ones(self.epochs),
        }

    def verdict(
        self,
        outcome: Outcome,
        scores: Sequence[UnitScores],
        findings: Sequence[Finding] | None,
        summaries: Sequence[MetricSummary],
    ) -> Verdict:
        """A verdict with a finding of each kind."""
        found = default_findings(outcome) if findings is None else findings
        return Verdict(
            outcome=outcome,
            candidate="chronos-512",
            legacy="autoformer",
            summary=fact(FactCode.GUARDRAILS_OPEN, **PAIR, open=4, guardrails=7),
            reasons=tuple(fact(FactCode.FINDING, id=each.id) for each in found[:2]),
            findings=tuple(found),
            validity=validity(outcome, scores, summaries),
            policy={
                "mode": "replace",
                "alpha": 0.05,
                "min_origins": 10,
                "reference": "random-walk",
                "criteria": [{"metric": "crps", "role": "guardrail", "margin": 0.05}],
            },
            plan=planned(self.horizon, self.stride),
            fingerprints={"policy": "aa" * 32},
            next_action=fact(
                FactCode.WAIT_FOR_ORIGINS,
                **PAIR,
                experiment="walks",
                now=20,
                ended=(),
                unmeasured=False,
                rules=(("BETA", "crps", ""),),
                rest=3,
                more=31,
                until="2026-05-04",
                settled=(),
            ),
        )


PAIR = {"candidate": "chronos-512", "legacy": "autoformer"}


def planned(horizon: int, stride: int) -> PlanRecord:
    """The plan of a dataset, as a verdict records it."""
    plan = OriginPlan(
        dataset="ALPHA",
        origins=20,
        first="2020-01-02",
        last="2020-05-04",
        stride=stride,
        horizon=horizon,
        gap=0,
        fits=1,
        refit=None,
    )
    return PlanRecord(experiment="walks", seeds=(1, 2), datasets=(plan,))


def default_findings(outcome: Outcome) -> list[Finding]:
    """One finding of each shape; the gravest is the outcome asked for."""
    return [
        make_finding("crps", "ALPHA", Outcome.PROMOTE, effect=-0.08),
        make_finding("rmse", "ALPHA", Outcome.PROMOTE, effect=-0.01),
        make_finding("coverage_80", "ALPHA", Outcome.PROMOTE, effect=-0.004, half=0.02),
        make_finding("crps", "ALPHA", Outcome.PROMOTE, effect=-0.08, bound=-0.02, role="success"),
        make_finding("failures", "ALPHA", Outcome.PROMOTE, effect=0.0, bound=0.0, role="limit"),
        make_finding("crps", "BETA", outcome, effect=0.02, half=0.06),
        make_finding("rmse", "BETA", outcome, effect=0.11, half=0.02),
        make_finding("mae", "BETA", outcome, effect=0.03, half=0.4),
        make_finding("coverage_80", "BETA", outcome, effect=0.03, half=0.03),
        make_finding("failures", "BETA", Outcome.PROMOTE, effect=0.0, bound=0.0, role="limit"),
    ]


MISSING = ("chronos-512", "BETA", 1)


def validity(
    outcome: Outcome, scores: Sequence[UnitScores], summaries: Sequence[MetricSummary]
) -> Validity:
    """What the findings rest on; an INVALID verdict has a problem."""
    broken = outcome is Outcome.INVALID
    return Validity(
        problems=(fact(FactCode.CELLS_MISSING, cells=(MISSING,), declared=len(scores) + 1),)
        if broken
        else (),
        declared=len(scores) + broken,
        present=len(scores),
        missing=(Cell(arm=MISSING[0], dataset=MISSING[1], seed=MISSING[2]),) if broken else (),
        truth_digests=dict.fromkeys((s.dataset for s in scores), "e1" * 32),
        units=tuple(health(each) for each in scores),
        standings=standings(scores, summaries),
        reference="random-walk",
    )


def health(scored: UnitScores) -> UnitHealth:
    """One unit's health."""
    return UnitHealth(
        arm=scored.arm,
        dataset=scored.dataset,
        seed=scored.seed,
        windows=len(scored),
        failures=scored.failures,
        missing=0,
        crossings=scored.crossings,
        extrapolated=scored.extrapolated,
        residual_distribution=scored.residual_distribution,
        first_reason=next((reason for reason in scored.reason if reason), ""),
        judged=scored.arm in PAIR.values(),
    )


def standings(
    scores: Sequence[UnitScores], summaries: Sequence[MetricSummary]
) -> tuple[AgainstReference, ...]:
    """Both sides against the random walk by CRPS."""
    rows = {(row.arm, row.dataset): row for row in summaries if row.metric == "crps"}
    return tuple(
        AgainstReference(
            arm=arm,
            dataset=dataset,
            metric="crps",
            reference="random-walk",
            value=rows[arm, dataset].value,
            reference_value=rows["random-walk", dataset].value,
            skill=rows[arm, dataset].skill,
        )
        for dataset in dict.fromkeys(each.dataset for each in scores)
        for arm in ("chronos-512", "autoformer")
        if (arm, dataset) in rows and ("random-walk", dataset) in rows
    )


def timed(key: tuple[str, str, int], *, learns: bool, reasons: Sequence[str]) -> CellRecord:
    """How carrying out a unit went."""
    heavy = 1.0 if "walk" in key[0] else 40.0
    seconds = {"import": 0.1 * heavy, "load": 0.02 * heavy, "forecast": 0.01 * heavy}
    peak = {"import": 60 << 20, "load": int(heavy * 9) << 20, "forecast": int(heavy * 11) << 20}
    fit = FitFacts(origin=380, epochs=12, best_epoch=9, diverged=False)
    return CellRecord(
        windows=len(reasons),
        form="quantiles",
        levels=tuple(LEVELS.tolist()),
        residual_distribution=learns,
        failed=sum(map(bool, reasons)),
        first_reason=next(filter(None, reasons), ""),
        answered_by_fallback=0,
        fits=(fit,) if learns else (),
        card={},
        devices=(),
        seconds=seconds | ({"fit": 21.4 + key[2]} if learns else {}),
        peak_bytes=peak | ({"fit": 612 << 20} if learns else {}),
        machine={"processor": "Example CPU 9000", "cores": "2", "gpu": "none"},
        digest="7c" * 32,
    )


def spoiled(forecast: Forecast, count: int) -> Forecast:
    """The same forecast with NaN in its first windows."""
    assert forecast.quantiles is not None
    point, quantiles = forecast.point.copy(), forecast.quantiles.copy()
    point[:count], quantiles[:count] = np.nan, np.nan
    return Forecast(point=point, levels=forecast.levels, quantiles=quantiles)


def facts(name: str, series: Series, plan: RollingOrigin) -> DatasetFacts:
    """A dataset's facts."""
    windows = plan.over(series.dates)
    first, last = (str(series.dates[row]) for row in windows.origin[[0, -1]])
    return DatasetFacts(
        id=name,
        title=f"{name.title()}, daily close",
        unit="points",
        dates=series.dates,
        target=series.target,
        source="made for the tests",
        licence="none needed",
        sha256="ab" * 32,
        until=str(series.dates[-1]),
        first_origin=first,
        last_origin=last,
        origins=len(windows),
        stride=plan.stride,
        horizon=plan.horizon,
        gap=plan.gap,
        repeats=0.002,
        warnings=("row 17: 12 days without a session",),
        quirks=("starts as an index at 100.00",),
    )


def arm_facts(name: str, role: Role) -> ArmFacts:
    """An arm's facts."""
    return ArmFacts(
        name=name,
        role=role,
        use=f"baselines.example:{name.title()}",
        options={"seq_len": 96, "channels": [1, 2]},
        card=CARD if role == "candidate" else {},
        residual_distribution=role == "legacy",
    )


@pytest.fixture(scope="session")
def make_page() -> Callable[..., PageInput]:
    """Make pages of 20 windows, 6 steps, 6 arms and 2 datasets."""
    return Maker()
