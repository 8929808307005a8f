"""Start the recipe's command line: `python -m candidates.pretraining`."""

import sys
from pathlib import Path


def main() -> None:
    """Run the command line and exit with its code."""
    from candidates.pretraining.command import run_command

    root = Path(__file__).resolve().parents[2]  # whose folder `datasets/` is no package
    if (root / "pyproject.toml").is_file():
        sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != root]
    sys.exit(run_command(sys.argv[1:]))


if __name__ == "__main__":
    main()
