"""Long memory: told from autoregressions and cycles as far as a sample can tell."""

import numpy as np
import pytest
from scipy.signal import fftconvolve, lfilter

from harness.stats.long_memory import memory_of, memory_stretch, persistence_of


def fractional(order: float, count: int, draw: np.random.Generator) -> np.ndarray:
    """Fractionally integrated noise, [n]."""
    lags = np.arange(1, count + 2000)
    weights = np.concatenate([[1.0], np.cumprod((lags - 1 + order) / lags)])
    return np.convolve(draw.normal(size=count + 2000), weights)[2000 : count + 2000]


def share_of(kind: str, count: int, *, overlap: int = 1, draws: int = 200) -> tuple[float, float]:
    """Shares of draws in which memory is suspected, and shown."""
    draw = np.random.default_rng(1)
    found = []
    for _ in range(draws):
        noise = draw.normal(size=count + overlap + 199)
        series = {
            "memory": lambda: fractional(0.3, count + overlap - 1, draw),
            "noise": lambda noise=noise: noise[200:],
            "autoregression": lambda noise=noise: lfilter([1.0], [1.0, -0.6], noise)[200:],
            "cycle": lambda: (
                draw.normal(size=count + overlap - 1)
                + np.sin(2 * np.pi * np.arange(count + overlap - 1) / 50 + draw.uniform(0, 6))
            ),
        }[kind]()
        found.append(memory_of(np.convolve(series, np.ones(overlap), mode="valid"), overlap))
    return (
        float(np.mean([each is not None and each.suspected for each in found])),
        float(np.mean([each is not None and each.shown for each in found])),
    )


@pytest.mark.parametrize(("overlap", "count"), [(1, 250), (5, 1000)])
def test_memory_is_told_from_what_forgets(overlap: int, count: int) -> None:
    """Said in nine of ten samples of order 0.3, and widened in most; of others next to never."""
    remembered = share_of("memory", count, overlap=overlap)

    assert remembered[0] > 0.88
    assert remembered[1] > 0.55
    assert share_of("noise", count, overlap=overlap)[0] < 0.1
    assert share_of("autoregression", count, overlap=overlap)[1] < 0.06
    assert share_of("cycle", count, overlap=overlap)[1] < 0.06


def test_too_few_or_constant_differences_tell_nothing() -> None:
    """No estimate from fewer than ten frequencies, without variance, or from a single cycle."""
    draw = np.random.default_rng(1)

    assert memory_of(draw.normal(size=20), 1) is None
    assert memory_of(np.full(100, 0.3), 1) is None
    assert memory_of(np.tile([0.0, 1.0], 50), 1) is None
    assert memory_of(np.cos(2 * np.pi * 7 * np.arange(100) / 100), 1) is None


@pytest.mark.slow
def test_the_stretch_is_that_of_simulated_means() -> None:
    """Root of the variance of the mean over its Bartlett estimate, against white noise's."""
    draw = np.random.default_rng(2)
    n, lag, order = 60, 10, 0.2
    weights = 2 * (1 - np.arange(lag + 1) / (lag + 1))
    weights[0] = 1.0

    def ratio(series: np.ndarray) -> float:
        around = series - series.mean(axis=1, keepdims=True)
        found = sum(
            w * (around[:, j:] * around[:, : n - j]).sum(axis=1) / n for j, w in enumerate(weights)
        )
        return float(np.sqrt(n * series.mean(axis=1).var() / np.mean(found)))

    noise = draw.normal(size=(4000, n + 1000))
    lags = np.arange(1, n + 1000)
    filtered = np.concatenate([[1.0], np.cumprod((lags - 1 + order) / lags)])
    series = fftconvolve(noise, filtered[None], axes=1)[:, 1000 : n + 1000]
    wanted = ratio(series) / ratio(noise[:, :n])
    assert memory_stretch(n, lag, 1, order) == pytest.approx(wanted, rel=0.05)
    assert memory_stretch(n, lag, 1, 0.0) == 1.0


def hits(count: int, persistence: float, *, draws: int, overlap: int = 1) -> np.ndarray:
    """Shares covered [R, n] by an interval of constant width as log volatility persists."""
    draw = np.random.default_rng(5)
    size = (draws, count + overlap + 199)
    shocks = draw.normal(size=size) * np.sqrt(1 - persistence**2)
    level = 0.5 * lfilter([1.0], [1.0, -persistence], shocks, axis=1)
    hit = (np.abs(draw.normal(size=size) * np.exp(level)) < 1.45)[:, 200:].astype(float)
    return np.stack([np.convolve(each, np.ones(overlap) / overlap, mode="valid") for each in hit])


def test_persistence_under_noise_is_widened_for_as_far_as_it_is_likely() -> None:
    """Hits that cluster for long have wider intervals; independent and alternating ones do not."""

    def wider(series: np.ndarray) -> float:
        found = [persistence_of(each, 1) for each in series]
        return float(np.mean([each.stretch(250, 20, 1) for each in found if each]))

    assert wider(hits(250, 0.93, draws=60)) > 1.2
    assert wider(hits(250, 0.0, draws=60)) < 1.03
    assert persistence_of(np.tile([0.0, 1.0], 125), 1) is None


def test_no_persistence_is_told_from_too_few_or_constant_hits() -> None:
    """Fewer than ten frequencies tell nothing, nor do hits that are all the same."""
    few = hits(20, 0.9, draws=1)[0]

    assert persistence_of(few, 1) is None
    assert persistence_of(np.full(100, 0.8), 1) is None
    assert persistence_of(np.zeros(0), 1) is None
