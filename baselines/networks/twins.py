"""What torch.compile and second derivatives need of operators that are written by hand.

Such an operator has a twin of plain differentiable operations, as a rule its function `plain`.
Second derivatives are those of the twin; a compiled network is made of twins too, or runs the
operator apart where its steps depend on the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from types import FunctionType
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

Sizes = ParamSpec("Sizes")
Given = ParamSpec("Given")
Made = TypeVar("Made")
Answer = TypeVar("Answer")


def fixed(build: Callable[Sizes, Made]) -> Callable[Sizes, Made]:
    """Keep the tensors a function of sizes builds; they serve training wherever first made."""

    @wraps(build)
    def outside_inference(*sizes: Sizes.args, **named: Sizes.kwargs) -> Made:
        with torch.inference_mode(mode=False):
            return build(*sizes, **named)

    return cast(Callable[Sizes, Made], lru_cache(maxsize=256)(outside_inference))


_APART: set[Callable[..., Any]] = set()


def apart(method: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """Mark a method that runs as it is between compiled parts, since its steps depend on the data.

    Its class calls `keep_apart` when it is first built.
    """
    _APART.add(method)
    return method


def keep_apart(owner: type) -> None:
    """Hide the marked methods of a class from compilers, from now on.

    Not when the class is defined: it imports the compiler, which takes a second.
    """
    for each in owner.__mro__:
        for name, method in list(vars(each).items()):
            if isinstance(method, FunctionType) and method in _APART:
                setattr(each, name, torch.compiler.disable(method))


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
