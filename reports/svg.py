"""Matplotlib figures as small inline SVG: fixed ids, colours left to the page's style sheet.

A figure is drawn in stand-in colours, which become CSS variables: one picture serves light, dark
and print. Text stays text. Ids are prefixed, so that several pictures share a page.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


Ink = Literal[
    "ink",
    "muted",
    "line",
    "paper",
    "candidate",
    "legacy",
    "other-candidate",
    "other-legacy",
    "reference",
    "soft",
]
INKS: dict[Ink, str] = {
    "ink": "#010101",
    "muted": "#020202",
    "line": "#030303",
    "paper": "#040404",
    "candidate": "#050505",
    "legacy": "#060606",
    "other-candidate": "#070707",
    "other-legacy": "#080808",
    "reference": "#090909",
    "soft": "#0a0a0a",
}
WIDTH, HEIGHT = 400, 250
FONT = 11
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "abharness",
    "text.parse_math": False,
    "font.size": FONT,
    "axes.linewidth": 0.8,
    "axes.edgecolor": INKS["muted"],
    "axes.labelcolor": INKS["muted"],
    "axes.unicode_minus": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.labelsize": FONT,
    "grid.color": INKS["line"],
    "grid.linewidth": 0.8,
    "text.color": INKS["ink"],
    "xtick.color": INKS["muted"],
    "ytick.color": INKS["muted"],
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "path.simplify": True,
    "path.simplify_threshold": 0.3,
}

PICTURES: ContextVar[bool] = ContextVar("PICTURES", default=True)
"""Whether charts are drawn."""


@contextmanager
def chart_style() -> Iterator[None]:
    """Use this page's style inside, whatever the user's own matplotlib settings are."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


@contextmanager
def without_pictures() -> Iterator[None]:
    """Make charts without drawing them, for a form that holds their tables and words only."""
    token = PICTURES.set(False)
    try:
        with chart_style():
            yield
    finally:
        PICTURES.reset(token)


def new_figure(
    *,
    height: int = HEIGHT,
    left: int = 52,
    right: int = 10,
    bottom: int = 40,
    top: int = 12,
) -> tuple[Figure, Axes]:
    """Make a figure with one plot; margins and sizes in CSS pixels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
    figure.patch.set_visible(False)
    box = (
        left / WIDTH,
        bottom / height,
        (WIDTH - left - right) / WIDTH,
        (height - bottom - top) / height,
    )
    axes = figure.add_axes(box)
    axes.patch.set_visible(False)
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    return figure, axes


def in_lines(label: str, size: int = 22) -> str:
    """A name in full, in two lines where one has no room for it: between words if it can be."""
    if len(label) <= size:
        return label
    breaks = [at for at in range(1, len(label)) if label[at - 1] in "-_ " or
              (label[at].isupper() and label[at - 1].islower())]  # fmt: skip
    middle = min(breaks, key=lambda at: abs(2 * at - len(label)), default=len(label) // 2)
    return f"{label[:middle].rstrip()}\n{label[middle:].lstrip()}"


def to_svg(figure: Figure, *, name: str, alt: str) -> str:
    """Draw a figure.

    Parameters
    ----------
    figure
        Drawn in `INKS` inside `chart_style`.
    name
        Letters, digits and hyphens, unique on the page: the prefix of all ids.
    alt
        What the picture shows, in words.

    Returns
    -------
    The element; nothing inside `without_pictures`.
    """
    if not PICTURES.get():
        return ""
    stream = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with warnings.catch_warnings():
        # the browser draws the text, not the font that lacks the character
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        figure.savefig(stream, format="svg", metadata=nothing)
    drawn = stream.getvalue()
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawn)
    assert size is not None
    width, height = (round(float(each)) for each in size.groups())
    body = drawn[drawn.index(">", drawn.index("<svg")) + 1 : drawn.rindex("</svg>")]
    for pattern, instead in _CLEANING:
        body = pattern.sub(instead, body)
    # coordinates to a hundredth of a pixel: in tags only, never in words
    body = MARKUP.sub(lambda tag: _DECIMALS.sub(lambda at: f"{float(at[0]):.2f}", tag[0]), body)
    body = _ungrouped(body)
    body = re.sub(r'( id="| href="#|url\(#)', rf"\g<1>{name}-", body)
    for ink, colour in INKS.items():
        body = body.replace(colour, f"var(--{ink})")
    return (
        f'<svg class="chart" role="img" aria-label="{html.escape(alt)}" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}">{body.strip()}</svg>'
    )


def _ungrouped(body: str) -> str:
    """Take out groups that say nothing: those without an attribute."""
    kept: list[bool] = []

    def judged(tag: re.Match[str]) -> str:
        if tag[0] == "</g>":
            return tag[0] if kept.pop() else ""
        if not tag[0].endswith("/>"):
            kept.append(tag[0] != "<g>")
        return "" if tag[0] in ("<g>", "<g/>") else tag[0]

    return re.sub(r"\n+", "\n", _GROUP.sub(judged, body))


_GROUP = re.compile(r"<g(?: [^>]*)?/?>|</g>")
_CLEANING = (
    (re.compile(r"<metadata>.*?</metadata>", re.DOTALL), ""),
    (re.compile(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>", re.DOTALL), ""),
    (re.compile(r"<!--.*?-->", re.DOTALL), ""),
    (re.compile(r'<g id="[^"]*"'), "<g"),
    (re.compile(r"xlink:href"), "href"),
    (re.compile(r"font(?:-family)?: [^;\"]*'[^;\"]*(?:; )?"), ""),
    (re.compile(r"; stroke-linejoin: miter|stroke-linejoin: miter; "), ""),
    (re.compile(r' transform="rotate\(-0 [^"]*"'), ""),
    (re.compile(r"\s*\n\s*"), "\n"),
)


MARKUP = re.compile(r"<[^>]*>")
_DECIMALS = re.compile(r"\d+\.\d{3,}")


OFTEN = 4
"""A style that stands at least so often is worth a rule."""

_CHART = re.compile(r'<svg class="chart".*?</svg>', re.DOTALL)
_STYLE_compact = re.compile(r' style="([^"]*)"')


def compacted(document: str) -> str:
    """Write every frequent style of the charts once, as a rule at the end of the head.

    Only markup is touched, never words. Rules are numbered in the order the styles first stand.
    """
    found = Counter(
        style
        for chart in _CHART.findall(document)
        for tag in MARKUP.findall(chart)
        for style in _STYLE_compact.findall(tag)
    )
    names = {
        style: f"k{place}"
        for place, style in enumerate(style for style, count in found.items() if count >= OFTEN)
    }

    def named(style: re.Match[str]) -> str:
        return f' class="{names[style[1]]}"' if style[1] in names else style[0]

    def in_tags(chart: re.Match[str]) -> str:
        return MARKUP.sub(lambda tag: _STYLE_compact.sub(named, tag[0]), chart[0])

    rules = "".join(f".chart .{name}{{{style}}}\n" for style, name in names.items())
    head, end, rest = document.partition("</head>")
    return (
        f"{head}<style>\n{rules}</style>\n{end}{_CHART.sub(in_tags, rest)}" if names else document
    )
