"""Headless Chromium for tests that need a browser; they are skipped, with the reason, without."""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from harness.evidence.comparison import Planning
from harness.judging.fact import FactCode, fact
from harness.judging.findings import Finding, Outcome
from reports.forms import render_history
from reports.forms.html import render_html
from reports.page_input import PageInput

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Make = Callable[..., PageInput]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WORDS = {
    "chronos-512": "HFBayesianAutoformer",
    "chronos-96": "HFBayesianAutoformer-96",
    "autoformer-repaired": "BayesianEnhancedAutoformer-repaired",
    "autoformer": "Autoformer",
    "ALPHA": "DOW_JONES",
    "BETA": "GOLD",
    "Synthetic market, two datasets": "The legacy Autoformers against HFBayesianAutoformer",
}


LONG = {
    "chronos-512": "candidate_forecaster_of_the_commodities_team_with_everything",
    "autoformer": "production_forecaster_autoformer_retrained_on_every_friday_1",
}


WEAK = {
    "random-walk": ("reference", (1,), 1.0),
    "autoformer": ("legacy", (1, 2), 1.35),
    "autoformer-repaired": ("legacy", (1, 2), 1.18),
    "chronos-96": ("candidate", (1,), 1.02),
    "chronos-512": ("candidate", (1,), 1.25),
}
"""The candidate beats the legacy arm and neither beats the random walk: the page warns."""


REMEMBER_FOLDS = """() => {
    window.folds = [...document.querySelectorAll('details')].map(each => [each, each.open]);
}"""
FOLD_AGAIN = """() => {
    window.folds.forEach(([each, open]) => { each.open = open; });
    window.scrollTo(0, 0);
}"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opened:
    """A page in the browser, with what it said and asked for since it was opened."""

    page: Page
    said: list[str]
    asked: list[str]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One headless Chromium with a new profile, for the whole session."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no chromium on the path: the page is not tried in a browser")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


def opened(
    chromium: Browser,
    file: Path,
    *,
    width: int = 1280,
    height: int = 800,
    scheme: Literal["light", "dark"] = "light",
    scripts: bool = True,
) -> Opened:
    """Open a file as a reader would, in a fresh context."""
    context = chromium.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        java_script_enabled=scripts,
    )
    page = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda problem: said.append(f"error: {problem}"))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    asked.remove(file.as_uri())
    return Opened(page=page, said=said, asked=asked)


@pytest.fixture
def show(chromium: Browser, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    """Open a page of its own, in which a test may do what it likes."""
    shown: list[Opened] = []

    def show(html: str, **kind: Any) -> Opened:
        file = tmp_path / f"page-{len(shown)}.html"
        file.write_text(html, encoding="utf-8")
        shown.append(opened(chromium, file, **kind))
        return shown[-1]

    yield show
    for each in shown:
        each.page.context.close()


@pytest.fixture(scope="session")
def kept_open() -> dict[tuple[str, int], Opened]:
    """Pages that many tests look at, by name and width."""
    return {}


@pytest.fixture
def look(
    chromium: Browser,
    pages: Mapping[str, str],
    kept_open: dict[tuple[str, int], Opened],
    tmp_path: Path,
) -> Callable[..., Opened]:
    """A page that is opened once for all tests, on a screen, scrolled up and folded as at first."""

    def look(name: str, *, width: int = 1280) -> Opened:
        key = name, width
        if key not in kept_open:
            file = tmp_path / "page.html"
            file.write_text(pages[name], encoding="utf-8")
            height = 844 if width < 400 else 800
            kept_open[key] = opened(chromium, file, width=width, height=height)
            kept_open[key].page.evaluate(REMEMBER_FOLDS)
        page = kept_open[key].page
        page.emulate_media(media="screen")
        page.evaluate(FOLD_AGAIN)
        return kept_open[key]

    return look


def renamed(value: Any, words: Mapping[str, str] = WORDS) -> Any:
    """The same records with names as long as those of the built-in experiments."""
    if isinstance(value, str) and not isinstance(value, Enum):
        for old, new in words.items():
            value = value.replace(old, new)
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(
            value,
            **{
                f.name: renamed(getattr(value, f.name), words)
                for f in dataclasses.fields(value)
                if f.init
            },
        )
    if isinstance(value, Mapping):
        return {renamed(key, words): renamed(each, words) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(renamed(each, words) for each in value)
    return value


@pytest.fixture(scope="session")
def spoiling() -> Any:
    """The neighbour that makes full and hostile records; tests are no package to import from."""
    file = Path(__file__).parent.parent / "spoiling.py"
    spec = importlib.util.spec_from_file_location("spoiling", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cautioned(page: PageInput) -> PageInput:
    """The same page with as many cautions as a careless team collects."""
    eased = ("rmse mean guardrail", "0.02", "0.05")
    beside = {"rows": (("ALPHA", "crps", -0.528, -0.946, -0.112),)}
    found = (
        fact(FactCode.STRAW_MAN, legacy="autoformer", reference="random-walk", **beside),
        fact(
            FactCode.CHANGED_SINCE, at="2026-01-20", what=("policy",), dropped=(), others=(eased,)
        ),
        fact(FactCode.TRIED_BEFORE, attempt=3, since="2026-01-02", what=("rules",), share=None),
        fact(FactCode.NOT_TESTED, arm="chronos", tests=("T10 on ALPHA", "asked again on BETA")),
        fact(FactCode.BELOW_REFERENCE, arm="chronos", reference="random-walk", **beside),
        fact(FactCode.ONE_SEED, arm="autoformer"),
        fact(FactCode.WORSE_BESIDE, arm="chronos", legacy="autoformer", **beside),
    )
    told = tuple(fact(FactCode.CAUTION).resting_on(each) for each in found)
    verdict = dataclasses.replace(page.verdict, reasons=(*page.verdict.reasons, *told))
    ended = {
        name: dataclasses.replace(facts, ended=facts.until) for name, facts in page.datasets.items()
    }
    return dataclasses.replace(page, verdict=verdict, datasets=ended)


def failed(page: PageInput) -> PageInput:
    """The same page of a candidate that failed every window: nothing was compared."""
    findings = tuple(
        dataclasses.replace(
            each,
            outcome=Outcome.INVALID,
            value=None,
            comparison=None,
            found=fact(
                FactCode.ALL_WINDOWS_FAILED,
                dataset=each.dataset,
                metric=each.metric,
                part=each.part,
                arm=page.verdict.candidate,
            ),
        )
        for each in page.verdict.findings
    )
    return dataclasses.replace(page, verdict=dataclasses.replace(page.verdict, findings=findings))


def long_names(page: PageInput) -> PageInput:
    """The same page of arms with long names in one word, failures counted and no prediction."""

    def worded(each: Finding) -> Finding:
        found = each.comparison
        if found is None:
            return each
        counted = dataclasses.replace(found.failed, candidate=3, candidate_as="worst")
        few = dataclasses.replace(found.sample, independent_n=3)
        planning = Planning()
        found = dataclasses.replace(found, failed=counted, sample=few, planning=planning)
        return dataclasses.replace(each, comparison=found, bound=0.9, value=0.843)

    findings = tuple(map(worded, page.verdict.findings))
    verdict = dataclasses.replace(page.verdict, findings=findings)
    found: PageInput = renamed(dataclasses.replace(page, verdict=verdict), LONG)
    return found


@pytest.fixture(scope="session")
def pages(make_page: Make, spoiling: Any, made_once: Callable[..., Path]) -> Mapping[str, str]:
    """Pages drawn: `quick` and `nightly` with all records, and four that have something else."""

    def make(folder: Path) -> None:
        for name, page in {
            "quick": renamed(spoiling.full_page(make_page, datasets=["ALPHA"])),
            "nightly": renamed(spoiling.full_page(make_page, arms=WEAK)),
            "bare": make_page(datasets=["ALPHA"]),
            "failed": renamed(failed(make_page(datasets=["ALPHA"], outcome=Outcome.INVALID))),
            "long_names": long_names(make_page(arms=WEAK)),
            "cautioned": renamed(cautioned(spoiling.full_page(make_page, arms=WEAK))),
        }.items():
            (folder / f"{name}.html").write_text(render_html(page), encoding="utf-8")

    return texts(made_once("pages", make))


@pytest.fixture(scope="session")
def hostile(make_page: Make, spoiling: Any, made_once: Callable[..., Path]) -> Mapping[str, str]:
    """Page of a verdict and of nights with markup in every text from outside."""

    def make(folder: Path) -> None:
        spoil = spoiling.Spoiler()
        page = render_html(spoil(spoiling.full_page(make_page)))
        nights = render_history(spoil(spoiling.a_history(make_page().verdict)), "html")
        (folder / "page.html").write_text(page, encoding="utf-8")
        (folder / "nights.html").write_text(nights, encoding="utf-8")

    return texts(made_once("hostile", make))


def texts(folder: Path) -> Mapping[str, str]:
    """The pages of a folder by name."""
    return {file.stem: file.read_text(encoding="utf-8") for file in folder.iterdir()}


@pytest.fixture(scope="session")
def night_page(make_page: Make, spoiling: Any) -> str:
    """Six nights with two looks."""
    return render_history(spoiling.a_history(renamed(make_page().verdict)), "html")
