"""Parts: forecasts of some consecutive origins by one fit, written once as one Parquet file.

One row per origin and step: ``cutoff`` (the last session seen), ``step`` from 1, ``point``, then
the distribution (``q0.1`` and so on, ``s0`` and so on, or ``deviation``); ``reason`` where an
origin failed, ``fallback`` where an arm's fallback answered. Every origin has a digest of its own,
so that it can be told whatever file it lies in. Below: how columns of numpy become a Parquet file
and come back.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.errors import StoreError, one_line
from harness.forecast import Forecast, Form
from harness.running.unit import UnitResult
from harness.window import Array, Dates, Rows

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA = 1
_OWN = ("cutoff", "step", "point", "reason", "fallback")
_OTHER_FORM = "ForecastError: its other fits answered in another form, with other levels or samples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Forecasts of W consecutive origins.

    Attributes
    ----------
    cutoff : [W]
        Last session seen, strictly increasing.
    reason
        W texts, empty where the origin has a forecast.
    forecast
        NaN where an origin failed; its `fallback` says which the arm's fallback answered.
    residual_distribution
        The harness put the distribution around the arm's point path.
    """

    cutoff: Dates
    reason: tuple[str, ...]
    forecast: Forecast
    residual_distribution: bool

    def __len__(self) -> int:
        return len(self.cutoff)

    @classmethod
    def of(cls, cutoff: Dates, outcome: UnitResult) -> Part:
        """What an arm answered at its origins."""
        return cls(
            cutoff=cutoff,
            reason=tuple(outcome.reason),
            forecast=outcome.forecast,
            residual_distribution=outcome.residual_distribution,
        )

    @classmethod
    def failed(cls, cutoff: Dates, horizon: int, reason: str) -> Part:
        """No forecast at any origin, for the same reason."""
        point = np.full((len(cutoff), horizon), np.nan)
        return cls(
            cutoff=cutoff,
            reason=(reason,) * len(cutoff),
            forecast=Forecast.of_point(point),
            residual_distribution=False,
        )

    @property
    def form(self) -> Form:
        """How the distribution is given; none where no origin has one."""
        return self.forecast.form

    def digests(self) -> list[str]:
        """A digest of each origin, whatever part it lies in."""
        values = self.forecast.distribution
        fallback = self.forecast.fallback or ("",) * len(self)
        found = []
        for row, cutoff in enumerate(self.cutoff.astype("datetime64[D]")):
            if self.reason[row]:  # the same beside whatever else
                said = [SCHEMA, str(cutoff), self.reason[row]]
                found.append(hashlib.sha256(json.dumps(said).encode()).hexdigest())
                continue
            said = [SCHEMA, str(cutoff), self.form, fallback[row]]
            content = hashlib.sha256(json.dumps(said).encode())
            content.update(self.forecast.levels.astype("<f8").tobytes())
            for numbers in (self.forecast.point, values):
                if numbers is not None:
                    content.update(np.ascontiguousarray(numbers[row], dtype="<f8").data)
            found.append(content.hexdigest())
        return found

    def numbers(self) -> list[Array]:
        """Point paths, and the distribution where there is one."""
        values = self.forecast.distribution
        return [self.forecast.point, *([] if values is None else [values])]

    def at(self, rows: Rows) -> Part:
        """Some of the origins."""
        return dataclasses.replace(
            self,
            cutoff=self.cutoff[rows],
            reason=tuple(self.reason[row] for row in rows.tolist()),
            forecast=self.forecast.part(rows),
        )


def together(parts: Sequence[Part]) -> Part:
    """Put parts together in order of origins.

    Where they differ in form, levels or number of samples, those that differ from the first that
    has a forecast failed.
    """
    first = next((part for part in parts if part.form != "none"), parts[0])
    wanted = _shape(first)
    point, reason, fallback = [], [], []
    values = []
    for part in parts:
        fits = _shape(part) == wanted
        point.append(part.forecast.point if fits else np.full_like(part.forecast.point, np.nan))
        odd = not fits and part.form != "none"
        reason += [text or (_OTHER_FORM if odd else "") for text in part.reason]
        fallback += list(part.forecast.fallback or ("",) * len(part))
        given = first.forecast.distribution
        if given is not None:
            own = part.forecast.distribution
            blank = np.full((len(part), *given.shape[1:]), np.nan)
            values.append(own if fits and own is not None else blank)
    order = np.argsort(np.concatenate([part.cutoff for part in parts]), kind="stable")
    whole = Part(
        cutoff=np.concatenate([part.cutoff for part in parts]),
        reason=tuple(reason),
        forecast=Forecast.of_form(
            first.form,
            levels=first.forecast.levels,
            point=np.concatenate(point),
            values=np.concatenate(values) if values else None,
            fallback=tuple(fallback) if any(part.forecast.fallback for part in parts) else (),
        ),
        residual_distribution=any(part.residual_distribution for part in parts),
    )
    return whole if np.array_equal(order, np.arange(len(order))) else whole.at(order)


def write_part(file: Path, part: Part) -> bytes | memoryview:
    """Write a part's file, and give its content."""
    return write_atomically(file, part_bytes(part))


def part_bytes(part: Part) -> memoryview:
    """The content of a part's file."""
    count, horizon = part.forecast.point.shape
    columns: dict[str, Any] = {
        "cutoff": np.repeat(part.cutoff.astype("datetime64[D]"), horizon),
        "step": np.tile(np.arange(1, horizon + 1, dtype=np.int32), count),
        "point": part.forecast.point.reshape(-1),
    }
    for name, texts in (("reason", part.reason), ("fallback", part.forecast.fallback)):
        if any(texts) or (name == "fallback" and texts):
            columns[name] = [text for text in texts for _ in range(horizon)]
    values = part.forecast.distribution
    if values is not None:
        if part.forecast.quantiles is not None:
            names = [f"q{level!r}" for level in part.forecast.levels.tolist()]
        elif part.forecast.samples is not None:
            values = values.transpose(0, 2, 1)
            names = [f"s{number}" for number in range(values.shape[-1])]
        else:
            names, values = ["deviation"], values[..., None]
        by_column = np.ascontiguousarray(values.reshape(-1, len(names)).T)
        columns |= dict(zip(names, by_column, strict=True))
    facts = {
        "schema": SCHEMA,
        "form": part.form,
        "levels": part.forecast.levels.tolist(),
        "residual_distribution": part.residual_distribution,
    }
    return table_bytes(columns, facts={"abharness": json.dumps(facts, sort_keys=True)})


def read_part(file: Path, content: bytes | None = None) -> Part:
    """Read a part's file.

    Parameters
    ----------
    content
        Its bytes, where they were read already.

    Raises
    ------
    TornTableError
        When it is missing, torn, or no whole part.
    """
    rows = read_table(file, content)
    try:
        return _part(rows)
    except Exception as problem:  # noqa: BLE001  # whatever a file of an arm's process may hold
        raise TornTableError(f"{file}: not a complete part: {str(problem)[:200]}") from None


def _part(rows: pa.Table) -> Part:
    facts = json.loads((rows.schema.metadata or {})[b"abharness"])
    if facts["schema"] != SCHEMA:
        raise ValueError(f"schema {facts['schema']}")
    step = column(rows, "step")
    horizon = int(step.max())
    count = len(step) // horizon
    if not np.array_equal(step, np.tile(np.arange(1, horizon + 1), count)):
        raise ValueError("its steps are not in order")
    cutoff = column(rows, "cutoff").reshape(count, horizon)
    if (cutoff != cutoff[:, :1]).any() or (np.diff(cutoff[:, 0]) <= np.timedelta64(0)).any():
        raise ValueError("its origins are not in order")
    texts = {
        name: tuple(map(str, column(rows, name).reshape(count, horizon)[:, 0]))
        for name in ("reason", "fallback")
        if name in rows.column_names
    }
    names = [name for name in rows.column_names if name not in _OWN]
    values = None
    if names:
        levels = np.stack([_floats(rows, name) for name in names])  # each in one piece
        values = levels.reshape(len(names), count, horizon).transpose(1, 2, 0)
        if facts["form"] in ("samples", "draws"):
            values = np.ascontiguousarray(values.transpose(0, 2, 1))
        elif facts["form"] == "gaussian":
            values = np.ascontiguousarray(values[..., 0])
    if (values is None) != (facts["form"] == "none"):
        raise ValueError("its distribution is missing")
    part = Part(
        cutoff=cutoff[:, 0],
        reason=texts.get("reason", ("",) * count),
        forecast=Forecast.of_form(
            facts["form"],
            levels=np.array(facts["levels"], dtype=np.float64),
            point=_floats(rows, "point").reshape(count, horizon),
            values=values,
            fallback=texts.get("fallback", ()),
        ),
        residual_distribution=bool(facts["residual_distribution"]),
    )
    good = np.array([not text for text in part.reason])
    if (part.forecast.finite != good).any():
        raise ValueError("its reasons do not fit its forecasts")
    return part


def _floats(rows: pa.Table, name: str) -> Array:
    found = column(rows, name)
    if found.dtype != np.float64:
        raise ValueError(f"{name} holds {found.dtype}")
    return found


def _shape(part: Part) -> tuple[Form, tuple[int, ...], tuple[float, ...]]:
    values = part.forecast.distribution
    own = () if values is None else values.shape[1:]
    return part.form, own, tuple(part.forecast.levels.tolist())


class TornTableError(StoreError):
    """A table is missing or torn."""


def write_table(path: Path, columns: Mapping[str, Any]) -> bytes | memoryview:
    """Write columns as a Parquet file, and give its content."""
    return write_atomically(path, table_bytes(columns))


def write_atomically(path: Path, content: bytes | memoryview) -> bytes | memoryview:
    """Write a file, there whole or not at all; gives its content."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.replace(path)
    return content


def table_bytes(
    columns: Mapping[str, Any], *, facts: Mapping[str, str] | None = None
) -> memoryview:
    """The content of a Parquet file of columns; `facts` go into its own metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = [_arrow(values) for values in columns.values()]
    fields = [
        pa.field(name, array.type, nullable=False)  # or every number is written with a mark
        for name, array in zip(columns, arrays, strict=True)
    ]
    table = pa.table(arrays, schema=pa.schema(fields, metadata=dict(facts or {}) or None))
    # forecasts are noise to a compressor: plain pages are as small and written faster
    texts = [name for name, values in columns.items() if not isinstance(values, np.ndarray)]
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        use_dictionary=texts or False,
        compression="none",
        write_statistics=False,
        write_batch_size=1 << 20,
    )
    return memoryview(sink.getvalue())


def _arrow(values: npt.NDArray[Any] | Sequence[str]) -> pa.Array:
    """Numbers or dates as Arrow sees them, over the same memory; texts copied."""
    import pyarrow as pa

    if not isinstance(values, np.ndarray):
        raw = [text.encode(errors="backslashreplace") for text in values]
        ends = np.cumsum([0, *map(len, raw)], dtype=np.int32)
        return pa.StringArray.from_buffers(
            len(raw), pa.py_buffer(ends), pa.py_buffer(b"".join(raw))
        )
    kind = pa.from_numpy_dtype(values.dtype)
    if values.dtype.kind == "M":
        kind, values = pa.date32(), values.astype("datetime64[D]").astype(np.int32)
    return pa.Array.from_buffers(
        kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))]
    )


def column(rows: pa.Table, name: str) -> npt.NDArray[Any]:
    """A column of a table as `write_table` was given it; texts as objects."""
    import pyarrow as pa

    values = rows[name].combine_chunks()
    if pa.types.is_string(values.type):
        return np.array(values.to_pylist(), dtype=object)
    if pa.types.is_date32(values.type):
        return np.from_dlpack(values.view(pa.int32())).astype("datetime64[D]")
    return np.from_dlpack(values)


def read_table(path: Path, content: bytes | None = None) -> pa.Table:
    """Read a Parquet file.

    Parameters
    ----------
    content
        Its bytes, where they were read already.

    Raises
    ------
    TornTableError
        When it is missing or torn.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        source = path if content is None else pa.BufferReader(content)
        with pq.ParquetFile(source, pre_buffer=False) as file:
            found = file.read(use_threads=False)  # small tables: threads cost more than they save
    except (OSError, pa.ArrowException) as problem:
        raise TornTableError(f"{path}: cannot be read: {one_line(str(problem))[:300]}") from None
    names = found.column_names  # a list that is made at each asking
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise TornTableError(f"{path}: duplicate columns: {', '.join(sorted(twice))}")
    return found
