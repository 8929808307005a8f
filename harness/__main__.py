"""Start the command line: `abharness` or `python -m harness`."""

import sys
from pathlib import Path


def main() -> None:
    """Run the command line and exit with its code."""
    # `python -m harness` puts the checkout's root on `sys.path`, and then the data folder
    # `datasets/` is taken for Hugging Face's package of that name.
    root = Path(__file__).resolve().parent.parent
    if (root / "pyproject.toml").is_file():
        sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != root]
    from harness.cli import run_cli

    sys.exit(run_cli(sys.argv[1:]))


if __name__ == "__main__":
    main()
