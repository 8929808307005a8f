"""The forms in which a report and the page of nights are written: HTML, Markdown, JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from reports.night_input import HistoryInput
    from reports.page_input import PageInput

Format = Literal["html", "md", "json"]


def render_page(page: PageInput, form: Format) -> str:
    """Write the page of a verdict."""
    if form == "md":
        from reports.forms.markdown import render_markdown

        return render_markdown(page)
    if form == "json":
        from reports.forms.json import page_json

        return page_json(page)
    from reports.forms.html import render_html

    return render_html(page)


def render_history(found: HistoryInput, form: Format) -> str:
    """Write the page of an experiment's nights."""
    from reports.night_page import NightPage
    from reports.svg import chart_style, without_pictures

    with chart_style() if form == "html" else without_pictures():
        sections = NightPage(found=found).sections()
    if form == "md":
        from reports.forms.markdown import markdown_of

        return markdown_of(sections, news=found.nights[-1].news if found.nights else ())
    if form == "json":
        from reports.forms.json import json_of

        return json_of(sections, title=found.title)
    from reports.forms.html import html_of

    head = f"{found.verdict.outcome}: nights of {found.title}"
    return html_of(sections, head=head, title=f"Nights of {found.title}")
