"""The forms in which a page and an index are written: HTML, Markdown, JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from reports.index import IndexInput
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


def render_store(index: IndexInput, form: Format) -> str:
    """Write the index of a store."""
    if form == "md":
        from reports.forms.markdown import index_markdown

        return index_markdown(index)
    from reports.index import index_json, render_index

    return index_json(index) if form == "json" else render_index(index)
