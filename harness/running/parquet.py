"""Tables as Parquet files: columns of numpy in, columns of numpy out, torn ones named."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness.errors import StoreError, one_line

if TYPE_CHECKING:
    import pyarrow as pa


class TornTableError(StoreError):
    """A table is missing or torn."""


def write_table(path: Path, columns: Mapping[str, Any]) -> memoryview:
    """Write columns as a Parquet file, and give its content."""
    return write_atomically(path, table_bytes(columns))


def write_atomically(path: Path, content: memoryview) -> memoryview:
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
        with pq.ParquetFile(path if content is None else pa.BufferReader(content)) as file:
            found = file.read()
    except (OSError, pa.ArrowException) as problem:
        raise TornTableError(f"{path}: cannot be read: {one_line(str(problem))[:300]}") from None
    twice = {name for name in found.column_names if found.column_names.count(name) > 1}
    if twice:
        raise TornTableError(f"{path}: duplicate columns: {', '.join(sorted(twice))}")
    return found
