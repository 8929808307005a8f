"""Recorded forecasts as an arm: the field's tables, and what of them does not fit a plan."""

import dataclasses
import io
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.arm import expect_answer
from harness.arm_ref import ArmRef
from harness.errors import ArmError
from harness.forecast import LEVELS
from harness.issued_forecasts import records_in
from harness.recorded import Recorded
from harness.running.unit import carry_out
from harness.verbs.common import grid_of
from harness.verbs.init import as_toml
from harness.window import RollingOrigin, contexts_at, up_to

GOLD = Path(__file__).parents[2] / "datasets" / "GOLD.csv"
PLAN = RollingOrigin(horizon=3, stride=5, origins=8, validation=20)


def cut(series, plan=PLAN, *, length=1):
    windows = plan.over(series.dates)
    rows = windows.origin
    return windows, contexts_at(series, rows, plan=plan, length=length, levels=LEVELS)


def frame(series, *, every=5, steps=3, first=100):
    """A table of cutoffs: two models, one of them with an interval; step k of origin o is o + k."""
    rows = []
    for origin in range(first, len(series) - steps + 1, every):
        for step in range(steps):
            value = 1000.0 + origin + step / 10
            rows.append(
                {
                    "unique_id": "gold",
                    "ds": series.dates[origin + step],
                    "cutoff": series.dates[origin - 1],
                    "y": series.target[origin + step],
                    "Old": value,
                    "New": value + 0.5,
                    "New-lo-80": value - 9,
                    "New-hi-80": value + 10,
                }
            )
    return pd.DataFrame(rows)


def origins_of(series):
    return PLAN.over(series.dates).origin


def aligned(series, **changes):
    """The same, with a record for each origin of the plan."""
    first = int(origins_of(series)[0])
    return frame(series, first=first - 5 * 40, **changes)


def written(table, path):
    table.to_parquet(path) if path.suffix == ".parquet" else table.to_csv(path, index=False)
    return str(path)


@pytest.mark.parametrize("name", ["forecasts.parquet", "forecasts.csv"])
def test_frame_of_cutoffs_is_answered_as_it_stands(tmp_path, series, name):
    """Each window gets the record whose cutoff is its last session, quantiles included."""
    _, contexts = cut(series)
    file = written(aligned(series), tmp_path / name)

    found = Recorded(file=file, model="New").forecast(contexts)

    expected = 1000.5 + origins_of(series)[:, None] + np.arange(3) / 10
    assert np.allclose(found.point, expected)
    assert found.levels.tolist() == [0.1, 0.9]
    assert np.allclose(found.quantiles, expected[..., None] + [-9.5, 9.5])
    assert found.finite.all()
    expect_answer(found, contexts)


def by_level(table):
    """AutoGluon's: item_id and timestamp in the index, a mean, and quantiles by their level."""
    blocks = table.rename(columns={"unique_id": "item_id", "ds": "timestamp", "New": "mean"})
    blocks = blocks.rename(columns={"New-lo-80": "0.1", "New-hi-80": "0.9"})
    return blocks[["item_id", "timestamp", "mean", "0.1", "0.9"]].set_index(
        ["item_id", "timestamp"]
    )


def plain(table):
    """A log: the issue time, the day, and quantiles by label."""
    log = table.rename(columns={"New-lo-80": "q10", "New": "q50", "New-hi-80": "q90"})
    log["issued_at"] = log["cutoff"].astype(str) + "T18:30:00Z"
    return log[["issued_at", "ds", "q10", "q50", "q90"]].sample(frac=1, random_state=1)


def labelled(table):
    """Names as neuralforecast and TimeGPT have them."""
    names = {"New": "TimeGPT-median", "New-lo-80": "TimeGPT_ql0.1", "New-hi-80": "TimeGPT-q-90"}
    return table.rename(columns=names).drop(columns="Old")


def begun(table):
    """The cutoff is the first day that is forecast."""
    first = table.groupby("cutoff")["ds"].transform("min")
    return table.assign(cutoff=first).drop(columns="Old")


def by_chronos(table):
    """As its `predict_df` has it: the target is named, and quantiles stand beside the path."""
    names = {"New": "predictions", "New-lo-80": "0.1", "New-hi-80": "0.9", "unique_id": "item_id"}
    other = table.assign(target_name="silver").rename(columns=names)
    return pd.concat([other, other.assign(target_name="gold")]).drop(columns="Old")


def by_prophet(table):
    """An interval whose width its columns do not name, and a text that is no forecast."""
    names = {"New": "yhat", "New-lo-80": "yhat_lower", "New-hi-80": "yhat_upper"}
    return table.rename(columns=names).drop(columns="Old").assign(status="ok")


def by_row(table):
    """A column names the model of each row, another the path."""
    names = {"New-lo-80": "lo-80", "New-hi-80": "hi-80"}
    rows = table.drop(columns=["New", "Old"]).rename(columns=names)
    return pd.concat(
        [rows.assign(model=name, forecast=table[name]) for name in ("Old", "New")]
    ).rename(columns={"lo-80": "forecast-lo-80", "hi-80": "forecast-hi-80"})


def named(path, low, high):
    """The same under other names of the path and the two ends, which name no model."""
    names = {"New": path, "New-lo-80": low, "New-hi-80": high}
    return lambda table: table.rename(columns=names).drop(columns="Old")


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (named("Point Forecast", "Lo 80", "Hi 80"), {}),  # R's forecast
        (named("Point.Forecast", "Lo.80", "Hi.80"), {}),
        (named("P50", "P10", "P90"), {}),
        (named("forecast", "lower_80", "upper_80"), {}),
        (named("forecast", "lower_80", "upper_80"), {"model": "forecast"}),
        (named("mean", "quantile_0.1", "quantile_0.9"), {}),
        (named("value", "interval_lower_bound", "interval_upper_bound"), {"interval": 80}),
        (by_level, {}),
        (plain, {}),
        (labelled, {}),
        (begun, {}),
        (by_chronos, {"series": "gold"}),
        (by_prophet, {"interval": 80}),
        (by_row, {"model": "New"}),
    ],
)
def test_tables_of_the_field_say_the_same(tmp_path, series, shape, said):
    """The forms of libraries, a plain log without cutoffs and other labels hold the same."""
    _, contexts = cut(series)
    table = aligned(series, every=1)
    whole = Recorded(file=written(table, tmp_path / "a.parquet"), model="New")
    other = Recorded(file=written(shape(table), tmp_path / "b.parquet"), **said)

    one, two = whole.forecast(contexts), other.forecast(contexts)

    middle = two.quantiles[..., 1] if len(two.levels) == 3 else two.point
    assert np.allclose(one.quantiles[..., [0, -1]], two.quantiles[..., [0, -1]])
    assert np.allclose(one.point, middle)


def test_levels_of_one_digit_are_per_cent(series):
    """Model-q-5 is the 5 % quantile of that model, as TimeGPT has it, and no model of its own."""
    names = {"New-lo-80": "Old-q-5", "New-hi-80": "Old-q-95"}

    found = records_in(aligned(series).drop(columns="New").rename(columns=names))

    assert (found.model, found.levels.tolist()) == ("Old", [0.05, 0.95])


def test_path_alone_gets_the_errors_of_earlier_records(tmp_path, series):
    """A distribution is made of what came of earlier records, centred on the path, by a loop."""
    _, contexts = cut(series, length=1500)
    arm = Recorded(file=written(aligned(series), tmp_path / "a.csv"), model="Old")
    origins = origins_of(series)

    found = arm.forecast(contexts)

    at = int(origins[-1])
    earlier = [o for o in range(int(origins[0]) - 200, at, 5) if o + 3 <= at]
    errors = np.array(
        [
            (series.target[o : o + 3] - (1000 + o + np.arange(3) / 10)) / series.target[o - 1]
            for o in earlier
        ]
    )
    spread = np.quantile(errors, LEVELS, axis=0).T - np.median(errors, axis=0)[:, None]
    assert arm.context_length == 1500
    assert np.allclose(found.point[-1], 1000 + at + np.arange(3) / 10)
    assert np.allclose(
        found.quantiles[-1], found.point[-1][:, None] + series.target[at - 1] * spread
    )
    assert np.allclose(found.quantiles[..., 11], found.point)


def test_what_does_not_fit_is_said_and_counted(tmp_path, series):
    """Missing origins, late records and short ones fail with their reason, and are counted."""
    table = aligned(series)
    origins = origins_of(series)
    cutoffs = [pd.Timestamp(series.dates[o - 1]) for o in origins]
    table["issued_at"] = table["cutoff"]
    table.loc[table["cutoff"] == cutoffs[1], "issued_at"] += pd.Timedelta(days=20)
    short = (table["cutoff"] == cutoffs[2]) & (
        table["ds"] == table["ds"][table["cutoff"] == cutoffs[2]].max()
    )
    table.loc[table["cutoff"] == cutoffs[4], "New"] = np.nan
    table = table[(table["cutoff"] != cutoffs[0]) & ~short]
    windows, contexts = cut(series)
    arm = Recorded(file=written(table, tmp_path / "a.parquet"), model="New")

    found, notes = arm.forecast(contexts), arm.notes_on("GOLD", series, windows)

    day = series.dates[origins - 1]
    assert found.finite.tolist() == [False, False, False, True, False, True, True, True]
    assert found.fallback[0] == f"no record: none has the cutoff {day[0]}"
    assert found.fallback[1].startswith("issued too late: on ")
    assert found.fallback[2] == f"too few steps: 2 of 3 were recorded at {day[2]}"
    assert found.fallback[4].startswith("not a number: ")
    assert notes[:4] == [
        f"1 of 8 origins on GOLD: {kind} ({day[place]})"
        for place, kind in (
            (0, "no record"),
            (1, "issued too late"),
            (2, "too few steps"),
            (4, "not a number"),
        )
    ]


def test_record_issued_again_in_time_counts_and_a_late_one_does_not(series):
    """Of two records with one cutoff the last that was in time is taken."""
    table = aligned(series)
    table["issued_at"] = table["cutoff"]
    again = table.assign(New=table["New"] + 100, issued_at=table["cutoff"] + pd.Timedelta(hours=6))
    late = table.assign(New=table["New"] + 500, issued_at=table["cutoff"] + pd.Timedelta(days=30))

    found = records_in(pd.concat([late, table, again]), model="New")

    first = table["New"].to_numpy()[:3]
    assert np.allclose(found.records[0].point, first + 100)
    assert found.records[0].late == ""
    assert found.replaced == len(found.cutoffs)


@pytest.mark.parametrize(("factor", "said"), [(1.0, False), (1.0005, False), (1.02, True)])
def test_actuals_of_another_series_are_said(tmp_path, series, factor, said):
    """A log whose own actuals are not the dataset's was made on other prices."""
    table = aligned(series)
    table["y"] *= factor
    windows, _ = cut(series)

    arm = Recorded(file=written(table, tmp_path / "a.csv"), model="New")

    notes = [each for each in arm.notes_on("GOLD", series, windows) if "actuals" in each]
    assert bool(notes) == said
    assert all("not those of GOLD: 2 % away at the median" in each for each in notes)


def test_a_record_of_its_first_day_shows_no_blindness(tmp_path, series):
    """Issued on the first day it speaks of, it yields to an earlier one, and the card says so."""
    table = aligned(series)
    first = table.groupby("cutoff")["ds"].transform("min")
    same_day = table.assign(New=table["New"] + 100, issued_at=first + pd.Timedelta(hours=23))
    both = pd.concat([table.assign(issued_at=table["cutoff"]), same_day])

    found = records_in(both, model="New")
    cards = [
        Recorded(file=written(one, tmp_path / "a.csv"), model="New").card()["issued"]
        for one in (both, same_day)
    ]

    assert np.allclose(found.records[0].point, table["New"].to_numpy()[:3])
    assert found.replaced == 0
    assert cards[0] == "each record says when it was issued"
    assert cards[1].startswith(f"UNKNOWN of {len(found.cutoffs)} records")


def test_weekends_of_a_record_are_no_steps(tmp_path, series):
    """A record of calendar days answers with its open days; a longer one is cut; both are said."""
    rows = []
    for origin in origins_of(series):
        cutoff = series.dates[origin - 1]
        for ahead in range(1, 10):
            day = cutoff + np.timedelta64(ahead, "D")
            rows.append({"ds": day, "cutoff": cutoff, "q10": 1, "q90": 3.0, "forecast": ahead})
    windows, contexts = cut(series)
    arm = Recorded(file=written(pd.DataFrame(rows), tmp_path / "a.csv"))

    found = arm.forecast(contexts)

    days = (contexts.future_dates - series.dates[origins_of(series) - 1][:, None]).astype(int)
    assert np.array_equal(found.point, days)
    assert "records of up to 9 steps; the plan takes the first 3" in arm.notes_on(
        "A", series, windows
    )


H19 = pd.Timedelta(hours=19)
SHORTER = dataclasses.replace(PLAN, first=562, origins=7)
"""The same but for its last origin, after which no 8 sessions come."""


def longer_log(series, *, lacking=()):
    """Records of 8 sessions at each origin, without some of the steps."""
    table = aligned(series, steps=8)
    return table[~table.groupby("cutoff").cumcount().isin(lacking)]


def without(series, rows):
    """The same series with holidays: rows that were no sessions."""
    kept = np.setdiff1d(np.arange(len(series)), rows)
    parts = {name: getattr(series, name)[kept] for name in ("dates", "target", "past")}
    return dataclasses.replace(series, **parts)


@pytest.mark.parametrize(("lacking", "first"), [((1,), 1), ((0, 1), 0), ((1, 2), 1), ((2, 6), 2)])
def test_a_record_that_passes_a_session_over_lacks_that_step(tmp_path, series, lacking, first):
    """However long it is: its later days are not judged against other dates; the day is named."""
    windows, contexts = cut(series, SHORTER)
    file = written(longer_log(series, lacking=lacking), tmp_path / "a.csv")
    arm = Recorded(file=file, model="New")
    arm.know_sessions(series.dates)

    found, notes = arm.forecast(contexts), arm.notes_on("GOLD", series, windows)

    assert found.fallback == tuple(
        f"a session is missing: the record of {series.dates[o - 1]} has no row for "
        f"{series.dates[o + first]}"
        for o in windows.origin
    )
    assert not found.finite.any()
    assert notes[0].startswith("7 of 7 origins on GOLD: a session is missing (")
    assert not any("counted in order" in each for each in notes)


@pytest.mark.parametrize("lacking", [(), (3,), (5, 6)])
def test_holidays_that_a_record_names_are_counted_and_later_gaps_do_no_harm(
    tmp_path, series, lacking
):
    """A naive calendar's days are steps in order; what lacks beyond the horizon is not judged."""
    closed = origins_of(series)[2] + 1
    known = without(series, [closed])
    windows, contexts = cut(known, dataclasses.replace(PLAN, first=int(closed) - 1, origins=1))
    table = longer_log(series, lacking=lacking)
    arm = Recorded(file=written(table, tmp_path / "a.csv"), model="New")
    arm.know_sessions(known.dates)
    passes = lacking == (3,)  # the holiday moved it into the horizon: nobody forecast that session

    found, notes = arm.forecast(contexts), arm.notes_on("GOLD", known, windows)

    assert found.finite.tolist() == [not passes]
    assert any("(holidays): steps are counted in order" in each for each in notes) != passes
    if passes:
        assert found.fallback[0].endswith(f"has no row for {known.dates[closed + 1]}")
    else:
        assert np.allclose(found.point[0], 1000.5 + closed - 1 + np.arange(3) / 10)


@pytest.mark.parametrize("named", [True, False])
def test_a_session_on_a_closed_day_is_a_step(tmp_path, series, named):
    """A session on it counts where a record names it, else the record lacks that step."""
    origin = int(origins_of(series)[2])
    weekday = (int(series.dates[origin + 1].astype(int)) + 3) % 7
    mask = "".join("0" if day == weekday else "1" for day in range(7))
    known = dataclasses.replace(series, weekmask=mask)
    windows, contexts = cut(known, dataclasses.replace(PLAN, first=origin, origins=1))
    log = longer_log(series, lacking=() if named else (1,))
    arm = Recorded(file=written(log, tmp_path / "a.csv"), model="New")
    arm.know_sessions(known.dates)

    found, notes = arm.forecast(contexts), arm.notes_on("GOLD", known, windows)

    assert found.finite.tolist() == [named]
    if named:
        assert np.allclose(found.point[0], 1000.5 + origin + np.arange(3) / 10)
        assert any("they count as steps" in each for each in notes)
    else:
        assert "calendar is closed, yet the dataset has a session" in found.fallback[0]
    digests = [arm.record_digests(up_to(known, stop), windows) for stop in (origin, origin + 3)]
    assert digests[0] != digests[1]


def test_sessions_to_come_are_not_known_and_tell_when_they_do(tmp_path, series):
    """Until the data reach a day nobody knows whether it lacks; then the record counts anew."""
    table = longer_log(series, lacking=(1,))
    arm = Recorded(file=written(table, tmp_path / "a.csv"), model="New")
    windows, contexts = cut(series, SHORTER)
    origin = int(windows.origin[-1])

    arm.know_sessions(series.dates[: origin + 1])
    before = arm.forecast(contexts)
    digests = [
        arm.record_digests(up_to(series, stop), windows)
        for stop in (origin, origin + 1, origin + 2)
    ]

    assert before.finite.tolist() == [False] * 6 + [True]
    assert digests[0] == digests[1]
    assert digests[1][:-1] == digests[2][:-1]
    assert digests[1][-1] != digests[2][-1]


def test_errors_of_records_that_pass_a_session_over_are_not_used(tmp_path, series):
    """Their steps speak of other sessions: a path alone has too few earlier records then."""
    _, contexts = cut(series, SHORTER, length=1500)
    whole = longer_log(series)
    last = pd.Timestamp(series.dates[origins_of(series)[-2] - 1])
    gap = longer_log(series, lacking=(1,))
    table = pd.concat([gap[gap["cutoff"] != last], whole[whole["cutoff"] == last]])
    arm = Recorded(file=written(table, tmp_path / "a.csv"), model="Old")
    arm.know_sessions(series.dates)

    found = arm.forecast(contexts)

    assert found.fallback[-1].startswith("no distribution for a path alone: 20 earlier records")
    assert found.fallback[-1].endswith("has 0")


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (lambda t: t, {}, "holds several models: Old, New; say model = 'Old'"),
        (
            lambda t: t,
            {"model": "Newer"},
            "model 'Newer' (did you mean 'New'?); there are Old, New",
        ),
        (lambda t: t.rename(columns={"ds": "when"}), {"model": "New"}, "columns = { day = '...' }"),
        (
            lambda t: pd.concat([t, t.assign(unique_id="oil")]),
            {"model": "New"},
            "holds 2 series: gold, oil; say series = 'gold'",
        ),
        (lambda t: t, {"model": "New", "series": "oil"}, "series = 'oil': f.csv has gold"),
        (
            lambda t: t.assign(cutoff=t["ds"].max()),
            {"model": "New"},
            "forecast a day that is not after the cutoff",
        ),
        (lambda t: t[["ds", "cutoff"]], {}, "no column of forecasts"),
        (lambda t: t.assign(New="much"), {"model": "New"}, "column 'New': "),
        (lambda t: t[:0], {"model": "New"}, "holds no row"),
        (
            lambda t: t.assign(ds=t["ds"].dt.strftime("%d/%m/%Y")),
            {"model": "New"},
            "column 'ds': 1",
        ),
        (lambda t: t, {"columns": {"dya": "ds"}}, "columns: unknown key dya (did you mean 'day'?)"),
        (lambda t: t, {"model": 5}, "model = 5: expected"),
        (lambda t: t, {"model": "new"}, "no forecasts of model 'new' (did you mean 'New'?)"),
        (lambda t: t.assign(New="1,5x"), {"model": "New"}, "hold no number, such as '1,5x'"),
        (lambda t: t.drop(columns="New-hi-80"), {"model": "New"}, "'New-lo-80' has no counterpart"),
        (
            lambda t: t.rename(columns={"New-hi-80": "New-hi-150"}),
            {"model": "New"},
            "'New-hi-150': expected a width between 0 and 100 %",
        ),
        (
            lambda t: pd.concat([t, t.assign(New=1)]),
            {"model": "New"},
            "two forecasts of 2001-",
        ),
        (lambda t: t, {"columns": {"day": "dy"}}, "columns.day = 'dy': it has "),
        (by_prophet, {}, "nothing tells how wide it is; say interval = 80"),
        (by_prophet, {"interval": 800}, "interval = 800; say interval = 80"),
        (lambda t: t, {"model": "Old", "interval": 80}, "no pair of columns such as yhat_lower"),
        (
            lambda t: by_prophet(t).drop(columns="yhat_upper"),
            {"interval": 80},
            "'yhat_lower': expected the lower and the upper end of one interval",
        ),
        (by_chronos, {}, "holds 2 series: gold, silver; say series = 'gold'"),
        (by_row, {}, "holds 2 models: New, Old; say model = 'New'"),
        (by_row, {"model": "Newer"}, "model = 'Newer': f.csv has New, Old (did you mean 'New'?)"),
        (
            lambda t: (
                t.groupby("cutoff")
                .first()
                .reset_index()
                .assign(h1=1.0, h2=2.0)[["cutoff", "h1", "h2"]]
            ),
            {},
            "steps alone have no date",
        ),
    ],
)
def test_tables_of_two_readings_are_refused(tmp_path, series, change, options, said):
    """What can be read in two ways is one line that names the option."""
    file = written(change(aligned(series)), tmp_path / "f.csv")
    ref = ArmRef(
        name="log", use="harness.recorded:Recorded", role="legacy", options={"file": file} | options
    )

    with pytest.raises(ArmError) as caught:
        ref.build()

    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def workbook(table, *sheets):
    """The same in each sheet of a workbook."""
    made = io.BytesIO()
    with pd.ExcelWriter(made) as writer:
        for name in sheets:
            table.to_excel(writer, sheet_name=name, index=False)
    return made.getvalue()


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda t: workbook(t, "a", "b"), "with rows there are a, b"),
        (lambda t: b"PK\x05\x06" + bytes(18), "an archive, but not a workbook"),
        (lambda t: b'{"error": "not found"}', "no column of days that were forecast"),
        (lambda t: b"[1, 2", "cannot be read"),
    ],
)
def test_files_without_one_table_are_refused(tmp_path, series, write, said):
    """Two tables, none, and an answer that is no table end in one line."""
    (tmp_path / "log").write_bytes(write(aligned(series)))

    with pytest.raises(ArmError) as caught:
        Recorded(file=str(tmp_path / "log"))

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda t: t.to_csv(index=False).encode("utf-16"), ""),
        (lambda t: t.to_csv(index=False, sep="\t").encode(), "separated by '\\t'"),
        (
            lambda t: t.to_csv(index=False, sep=";", decimal=",").encode(),
            "separated by ';', its decimal mark is a comma",
        ),
        (lambda t: pd.concat([t, t[:3]]).to_csv(index=False).encode(), "3 rows are there twice"),
        (lambda t: t.assign(ds=t["ds"] + H19).to_csv(index=False).encode(), "times of day in 'ds'"),
        (lambda t: t.assign(New=t["New"] / 100).to_csv().encode(), "times the last prices"),
        (lambda t: t.to_json(orient="records", lines=True, date_format="iso").encode(), ""),
        (lambda t: t.to_json(orient="records", date_format="iso").encode(), ""),
        (lambda t: workbook(t, "log"), ""),
        (lambda t: t.assign(why="none").to_csv().encode(), "no numbers in 'why': not read"),
    ],
)
def test_tables_of_other_writing_are_read_and_said(tmp_path, series, write, said):
    """Encodings, separators, rows told twice, times of day and units: read as meant, and named."""
    table = aligned(series)
    table[["New", "New-lo-80", "New-hi-80"]] *= series.target[-1] / 1000
    file = tmp_path / "log.csv"
    file.write_bytes(write(table))
    windows, _ = cut(series)

    arm = Recorded(file=str(file), model="New")

    found = [each for each in arm.notes_on("GOLD", series, windows) if said and said in each]
    assert len(found) == bool(said)
    assert len(arm._records.cutoffs) == table["cutoff"].nunique()


def test_days_are_those_that_are_written(series):
    """A day with an offset is the day where it was written, summer time or not."""
    table = aligned(series)
    told = table.assign(
        ds=[f"{d:%Y-%m-%d}T00:00:00+{8 + (d.month > 6):02}:00" for d in table["ds"]],
        cutoff=[f"{d:%Y-%m-%d} 00:00:00+09:00" for d in table["cutoff"]],
    )

    one, other = records_in(table, model="New"), records_in(told, model="New")

    assert np.array_equal(one.cutoffs, other.cutoffs)
    assert np.array_equal(one.records[0].days, other.records[0].days)


@pytest.mark.parametrize("paired", [False, True])
def test_a_run_tells_a_log_which_sessions_came_and_no_other_arm(tmp_path, series, paired):
    """As an arm or as a pair's primary its lacking steps fail; whoever forecasts gets no dates."""
    shutil.copy(GOLD, tmp_path)
    days = pd.read_csv(GOLD).iloc[:, 0].to_numpy(dtype="datetime64[D]")
    log = longer_log(dataclasses.replace(series, dates=days[-len(series) :]), lacking=(1,))
    record = {"use": "harness.recorded:Recorded", "model": "New"}
    record["file"] = written(log, tmp_path / "log.csv")
    walk = {"use": "baselines.random_walk:RandomWalk"}
    pair = {"use": "harness.fallback:WithFallback", "primary": record, "fallback": walk}
    arms = [
        {"name": "log", "role": "candidate", **(pair if paired else record)},
        {"name": "walk", "role": "legacy", **walk},
    ]
    plan = {"horizon": 3, "stride": 5, "first": len(days) - 38, "origins": 7, "validation": 60}
    policy = {"baseline": "walk", "candidate": "log", "criteria": [{"metric": "crps", "margin": 0}]}
    table = {"datasets": ["GOLD"], "plan": plan, "arms": arms, "policy": policy}
    file = tmp_path / "log.toml"
    file.write_text("".join(f"{key} = {as_toml(value)}\n" for key, value in table.items()))

    grid = grid_of(file, [], seeds=None)
    jobs = {cell.arm.name: grid.job(cell) for cell in grid.cells}

    outcome = carry_out(jobs["log"])
    reasons = outcome.fallback if paired else outcome.reason
    assert jobs["walk"].sessions is None
    assert len(reasons) == 7
    assert all("a session is missing: the record of " in each for each in reasons)
    (cell,) = (cell for cell in grid.cells if cell.arm.name == "log")
    arm = Recorded(file=record["file"], model="New")
    part = grid.splits["GOLD"]
    assert list(cell.records.values()) == arm.record_digests(part.dataset.series, part.issued)
    assert not any("csv" in name for name in cell.known.identity["weights"])
