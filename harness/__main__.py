"""Start the command line: `abharness` or `python -m harness`."""

import sys
from pathlib import Path


def _leave_checkout() -> None:
    """Take the checkout's root off `sys.path`.

    `python -m harness` puts it there, and then the data folder `datasets/` is taken for Hugging
    Face's package of that name.
    """
    root = Path(__file__).resolve().parent.parent
    if (root / "pyproject.toml").is_file():
        sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != root]


def main() -> None:
    """Run the command line and exit with its code."""
    _leave_checkout()
    from harness.cli import run_cli

    sys.exit(run_cli(sys.argv[1:]))


if __name__ == "__main__":
    main()
