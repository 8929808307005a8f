"""Losses of users, which a policy names as `module:function`."""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path

from harness.arm import look_beside, user_code
from harness.errors import ConfigError, InputError, one_line
from harness.evidence.estimand import name_loss
from harness.scoring.metrics import use_loss

_READ: dict[str, str] = {}
"""Digest of the file of each module that was imported for a loss."""


def load_loss(name: str, folder: Path | None = None) -> None:
    """Import a loss and let it count; a module that was edited since is imported again.

    Parameters
    ----------
    name
        ``module:function``.
    folder
        Where the policy lies: a module that is not installed is looked for there.

    Raises
    ------
    ConfigError
        When there is no such function, or it is no loss.
    """
    module_name, _, function_name = name.partition(":")
    look_beside(folder or Path.cwd())
    try:
        with user_code():
            known = module_name in sys.modules
            module = importlib.import_module(module_name)
            file = Path(module.__file__ or "")
            digest = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
            if known and _READ.get(module_name, digest) != digest:
                module = importlib.reload(module)
            _READ[module_name] = digest
            function = getattr(module, function_name, None)
    except InputError:
        raise
    except Exception as problem:  # importing runs the user's code
        said = f"{type(problem).__name__}: {one_line(str(problem))}"
        raise ConfigError(f"metric = '{name}': cannot import it: {said}") from problem
    if function is None:
        raise ConfigError(f"metric = '{name}': module '{module_name}' has no '{function_name}'")
    use_loss(name, function)
    name_loss(name)
