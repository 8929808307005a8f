"""A report as one HTML file that needs nothing else, the same bytes for the same records."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from harness.errors import escaped
from reports.page_input import PageInput
from reports.section import Block, Section
from reports.sections import sections_of
from reports.sections.first_screen import first_screen
from reports.svg import chart_style, compacted

if TYPE_CHECKING:
    from jinja2 import Environment


_SEAMS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[-_/:])(?=\w)")

_MINUS = re.compile(r"(?<=[ (\u00b1])-(?=\d)")


def render_html(page: PageInput) -> str:
    """Draw the page.

    Returns
    -------
    str
        A whole HTML document. No clock, no path and no random id is in it; all text that comes
        from outside is escaped.
    """
    with chart_style():
        sections = sections_of(page, "page")
    asked = f"May {page.verdict.candidate} replace {page.verdict.legacy}?"
    return html_of(sections, head=f"{page.verdict.outcome}: {asked} {page.title}", title=page.title)


def html_of(
    sections: Sequence[Section],
    *,
    head: str,
    title: str,
    first: str = "Verdict",
    source: str = "stored records",
) -> str:
    """Draw sections as a whole document.

    Parameters
    ----------
    head
        Names the tab.
    title, source
        What the page is of, and what it is drawn from: its foot.
    first
        The name of the first section in the navigation.
    """
    template = environment().get_template("page.html")
    drawn = template.render(head=head, title=title, sections=sections, first=first, source=source)
    return compacted(without_skips(drawn) + "\n")


def without_skips(document: str) -> str:
    """Headings one level below the heading they stand under, whatever level they ask for."""
    above: list[tuple[int, int]] = []  # levels asked for and shown, down to the last heading

    def shown(tag: re.Match[str]) -> str:
        if not tag[1]:
            asked = int(tag[2])
            while above and above[-1][0] >= asked:
                above.pop()
            above.append((asked, above[-1][1] + 1 if above else 1))
        return f"<{tag[1]}h{above[-1][1]}"

    return re.sub(r"<(/?)h([1-6])\b", shown, document)


def draw_block(block: Block, level: int = 3) -> str:
    """Draw a block by the macro of its name in `parts.html`; `level` is that of its heading."""
    macro = getattr(environment().get_template("parts.html").module, type(block).__name__.lower())
    drawn: str = macro(block, level) if isinstance(block, Section) else macro(block)
    return drawn


def _typeset(text: object) -> object:
    """A sentence with true minus signs, as the numbers of the page have them; commands as code."""
    from markupsafe import Markup, escape

    if not isinstance(text, str):
        return text
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a backtick without a second
        parts = [text]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(_MINUS.sub("\u2212", part))
        for place, part in enumerate(parts)
    )


def _soft(text: object) -> object:
    """A name that may be broken between its words, never within one."""
    from markupsafe import Markup, escape

    parts = _SEAMS.split(escaped(str(text)))
    return Markup("<wbr>").join(escape(part) for part in parts)


@cache
def environment() -> Environment:
    """Open the templates of this package; a name a template does not know is an error."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: (  # control characters shown; markup that is safe stays so
            type(value)(escaped(value)) if isinstance(value, str) else value
        ),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["draw"] = draw_block
    made.filters |= {
        "soft": _soft,
        "typeset": _typeset,
        # a text as a string of a style sheet
        "css": lambda text: '"' + re.sub(r"[^\w .,%/:-]", " ", str(text)) + '"',
    }
    return made


HEIGHT = 800
"""Of the frame, in pixels; what does not fit scrolls."""


def first_screen_frame(page: PageInput) -> str:
    """Draw the first screen as a document in a frame, so that no style leaks either way.

    All text that comes from outside is escaped, and the frame may run no script.
    """
    template = environment().get_template("notebook.html")
    document = template.render(sections=list(first_screen(page)))
    return (
        f'<iframe sandbox title="The verdict" width="100%" height="{HEIGHT}" '
        f'style="border:0" srcdoc="{html.escape(document)}"></iframe>'
    )
