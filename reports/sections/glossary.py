"""Every word of the page that needs one explained."""

from __future__ import annotations

from collections.abc import Iterator

from reports.page_input import PageInput
from reports.section import Details, Facts, Placement, Section, Term, Text

GLOSSARY = (
    Term(
        name="RMSE",
        code="sqrt(mean((y − f)²))",
        text="Root mean squared error of the point path, in the unit of the data; large misses "
        "weigh most.",
    ),
    Term(
        name="MAE",
        code="mean(|y − f|)",
        text="Mean absolute error of the point path, in the unit of the data.",
    ),
    Term(
        name="MAPE",
        code="100 · mean(|y − f| / |y|)",
        text="In per cent. It prefers low forecasts, so it is shown and never judged alone.",
    ),
    Term(
        name="CRPS",
        code="2 · ∫ pinball(u) du over levels u",
        text="Error of the whole predictive distribution, in the unit of the data; for a point "
        "forecast it is the MAE. Every arm is scored on the same level grid.",
    ),
    Term(
        name="MASE",
        code="mean(|y − f|) / mean(|change from session to session, before the origin|)",
        text="Absolute error in units of a typical one-session change: comparable over decades.",
    ),
    Term(
        name="Coverage",
        code="share of outcomes inside the central interval",
        text="Should be near the nominal level: below it the interval is too narrow, above it "
        "too wide.",
    ),
    Term(
        name="Width",
        code="upper − lower end of the central interval",
        text="In the unit of the data. Of two arms with the right coverage the narrower is better.",
    ),
    Term(
        name="Skill",
        code="1 − loss / loss of the random walk",
        text="Above 0 is better than the random walk, which forecasts the last price. On "
        "prices this is the bar.",
    ),
    Term(
        name="Effect",
        code="loss of the candidate / loss of the legacy arm − 1",
        text="On the same windows, with losses divided by the last value seen. Below 0 the "
        "candidate is better. For coverage: distance from nominal, in points.",
    ),
    Term(
        name="HAC, block bootstrap",
        code="two intervals for the same effect",
        text="Both allow for windows that overlap. A rule is decided only where they agree.",
    ),
)


def glossary(page: PageInput) -> Iterator[Section]:
    """Formulas and how to read them."""
    yield Section(
        id="glossary",
        title="Glossary",
        link="Glossary",
        items=(
            Details(
                summary="Every measure with its formula",
                blocks=(
                    Text(
                        text="y is the actual, f the point path; means run over windows and steps.",
                        style="note",
                    ),
                    Facts(terms=GLOSSARY, style="glossary"),
                ),
            ),
        ),
    )


PLACEMENTS = (Placement(order=1000, page=glossary),)
