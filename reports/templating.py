"""The one place where templates are opened: everything from outside is escaped."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from harness.escapes import escaped

if TYPE_CHECKING:
    from jinja2 import Environment


def _shown(value: object) -> object:
    """A text with control characters shown: some a page cannot hold, others nobody would see."""
    if not isinstance(value, str):
        return value
    return type(value)(escaped(value))  # markup that is safe stays so


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Open the templates of this package; a name a template does not know is an error."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
