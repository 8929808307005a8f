"""The sections of a report: those that the files of `reports/sections` declare, in their order."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Literal

from reports import sections
from reports.page_input import PageInput
from reports.section import Placement, Section

Form = Literal["page", "summary", "terminal"]


@cache
def parts() -> tuple[Placement, ...]:
    """Every part that a file of `reports/sections` declares as its `PLACEMENTS`, by order."""
    names = (found.name for found in pkgutil.iter_modules(sections.__path__))
    modules = (importlib.import_module(f"{sections.__name__}.{name}") for name in names)
    found = (part for module in modules for part in getattr(module, "PLACEMENTS", ()))
    return tuple(sorted(found, key=lambda part: part.order))


def sections_of(page: PageInput, form: Form) -> list[Section]:
    """Make the sections of a form."""
    makers = (getattr(part, form) for part in parts())
    return [section for make in makers if make is not None for section in make(page)]
