"""What a report says, a file for each matter.

A file that declares `PLACEMENTS` stands in the report; the others draw or word what several need.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Literal

from reports.page_input import PageInput
from reports.section import Placement, Section

Form = Literal["page", "summary", "terminal"]


@cache
def placements() -> tuple[Placement, ...]:
    """Every placement that a file of this folder declares, by order."""
    names = (found.name for found in pkgutil.iter_modules(__path__))
    modules = (importlib.import_module(f"{__name__}.{name}") for name in names)
    found = (each for module in modules for each in getattr(module, "PLACEMENTS", ()))
    return tuple(sorted(found, key=lambda each: each.order))


def sections_of(page: PageInput, form: Form) -> list[Section]:
    """Make the sections of a form."""
    makers = (getattr(each, form) for each in placements())
    return [section for make in makers if make is not None for section in make(page)]
