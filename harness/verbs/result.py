"""What came of a verb: the verdict with where it lies, the page, and what the command prints."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from harness.judging.fact import Fact
    from harness.judging.verdict import Verdict
    from harness.running.fill import RunSummary
    from reports.page_input import PageInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What `compare`, `run`, `gate`, `report` and `check` return; a notebook shows the verdict.

    Attributes
    ----------
    text
        What the command prints.
    exit_code
        What the command ends with: 0 PROMOTE or done, 3 REJECT or a required predicate failed,
        4 HOLD, 5 INVALID.
    verdict
        On the policy's pair; None where nothing was judged.
    others
        Verdicts of the same candidate against the other legacy arms; they decide nothing.
    folder
        Where the verdict's records lie.
    page
        The page, or the file a report was written to.
    news
        What is new since the verdict before, then what must be known of the data; of a nightly and
        where the policy plans looks.
    units
        What was run, for `compare` and `run`.
    """

    text: str
    exit_code: int = 0
    verdict: Verdict | None = None
    others: tuple[Verdict, ...] = ()
    folder: Path | None = None
    page: Path | None = None
    news: tuple[Fact, ...] = ()
    units: RunSummary | None = None
    content: PageInput | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return self.text

    def metrics(self) -> pd.DataFrame:
        """The metrics table: a row for each dataset, arm and metric.

        Columns: dataset, arm, role, metric, unit, value (mean over seeds), low, high (range over
        seeds), n (values scored), missing (of them NaN), failures (windows), skill (against the
        reference arm). NaN stands where a value is not defined. Empty where nothing was judged.
        """
        import pandas as pd

        columns = [
            "dataset",
            "arm",
            "role",
            "metric",
            "unit",
            "value",
            "low",
            "high",
            "n",
            "missing",
            "failures",
            "skill",
        ]
        found = self.content.summaries if self.content else ()
        rows = [{name: getattr(row, name) for name in columns} for row in found]
        return pd.DataFrame(rows, columns=columns)

    def _repr_html_(self) -> str:
        """The first screen of the page in a frame of its own; without a verdict, the text.

        All text from outside is escaped, and the frame runs no script.
        """
        if self.content is None:
            return f"<pre>{html.escape(self.text)}</pre>"
        from reports.forms.html import first_screen_frame

        return first_screen_frame(self.content)
