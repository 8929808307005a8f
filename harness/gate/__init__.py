"""From a store to a record of a verdict, its history, and judging again.

`harness.gate` is the name of this room and of a public function: the room can be called.
"""

import sys
from types import ModuleType
from typing import Any


class _CallableRoom(ModuleType):
    """A module that passes calls on to the verb of its name."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Judge what is stored: see `harness.verbs.gate.gate`."""
        return sys.modules[__name__.partition(".")[0]].__getattr__("gate")(*arguments, **options)


sys.modules[__name__].__class__ = _CallableRoom
