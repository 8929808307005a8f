"""What torch.compile and second derivatives need of operators that are written by hand.

Such an operator has a twin of plain differentiable operations. Second derivatives are those of
the twin; a compiled network is made of twins too, or runs the operator apart where its steps
depend on the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

Sizes = ParamSpec("Sizes")
Given = ParamSpec("Given")
Made = TypeVar("Made")
Answer = TypeVar("Answer")


def fixed(build: Callable[Sizes, Made]) -> Callable[Sizes, Made]:
    """Keep the tensors a function of sizes builds; they serve training wherever first made."""

    @lru_cache(maxsize=256)
    @wraps(build)
    def made(*sizes: Any) -> Made:
        with torch.inference_mode(mode=False):
            return build(*sizes)

    return cast(Callable[Sizes, Made], made)


def apart(method: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """Let a method run as it is, between compiled parts: its steps depend on the data."""
    uncompiled: Callable[Given, Answer] = torch.compiler.disable(method)
    return uncompiled


def again(
    twin: Callable[..., Tensor], inputs: Sequence[Tensor], needed: Sequence[bool], grad: Tensor
) -> tuple[Any, ...]:
    """Gradients of `twin(*inputs)`, times `grad`, that can be differentiated again.

    None for an input that is not `needed`; what that says beyond the inputs is of options.
    """
    needed = needed[: len(inputs)]
    with torch.enable_grad():
        each = [value.view_as(value) for value in inputs]  # one tensor may stand in two places
        wanted = [value for value, asked in zip(each, needed, strict=True) if asked]
        options = {"create_graph": True, "allow_unused": True}
        found = iter(torch.autograd.grad(twin(*each), wanted, grad, **options))
    return tuple(next(found) if asked else None for asked in needed)
