"""2,000 malformed tables, and as many damaged files: no traceback, nothing silently wrong.

Run by hand: ``python -P tests/studies/malformed_tables.py [COUNT] [SEED]``. pytest does not collect
it; `tests/harness/data/test_malformed.py` runs a sample of the same.
"""

from __future__ import annotations

import collections
import itertools
import random
import sys
import tempfile
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness" / "data"))

from malformed import TODAY, Case, damaged, tables, verdict

from harness.data.importer import Imported, import_file
from harness.errors import DataError


def outcome(case: Case, folder: Path) -> tuple[Imported | None, str]:
    """What an import makes of a case: a dataset, or one line."""
    try:
        made = import_file(
            folder / "in.csv",
            dataset_id="X",
            target="Close",
            date="Date",
            folder=folder,
            options=case.options,
            raw=case.content,
            dry_run=True,
            today=TODAY,
        )
    except DataError as error:
        return None, str(error)
    return made[0], ""


def changed(case: Case, made: Imported) -> str:
    """Prices that damage changed by more than a fifth without a warning, and lost sessions."""
    series = made.built.series
    found = dict(zip(series.dates.tolist(), series.target.tolist(), strict=True))
    for day, price in found.items():
        if day in case.truth and abs(price / case.truth[day] - 1) > 0.2:
            return f"{day}: {price}, {case.truth[day]}"
    if len(set(case.truth) - set(found)) > 3:
        return f"{len(set(case.truth) - set(found))} lost: {made.built.notes}"
    return ""


def main() -> int:
    """Count outcomes by fault and print each one that may not stand."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    folder, rng = Path(tempfile.mkdtemp()), random.Random(seed)
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    bad = 0
    for case in itertools.islice(tables(seed), count):
        for one in (case, damaged(case, rng)):
            try:
                made, problem = outcome(one, folder)
            except Exception:  # noqa: BLE001 - what this study is for
                bad += 1
                print("TRACEBACK", one.planted, one.shape)
                traceback.print_exc()
                continue
            what = (
                "refused" if problem else "warned" if made and made.built.warnings else "imported"
            )
            counts[one.planted, what] += 1
            if one is not case:
                wrong = "" if not made or made.built.warnings else changed(one, made)
            else:
                wrong = verdict(one, made, problem)
            if wrong:
                bad += 1
                print(one.planted, "|", wrong[:300], "|", one.shape)
    for (planted, what), number in sorted(counts.items()):
        print(f"{planted:20} {what:9} {number}")
    print(f"{bad} of {sum(counts.values())} may not stand")
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
