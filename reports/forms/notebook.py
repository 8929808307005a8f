"""The first screen of a page, for a notebook."""

from __future__ import annotations

import html

from reports.forms.html import environment
from reports.page_input import PageInput
from reports.sections.first_screen import first_screen

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
