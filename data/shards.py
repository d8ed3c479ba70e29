"""The input in pieces: what one process works on at a time, and what is kept after a kill.

Where the pieces end depends on the files alone, so neither the number of processes nor a kill
changes the result.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llmtrain.config.errors import Problem, UsageError
from llmtrain.data.extras import extra

SHARD_BYTES = 32 * 2**20
"""About what a piece of a file that can be cut holds."""

Kind = Literal["text", "lines", "jsonl", "parquet"]

SUFFIXES: dict[str, Kind] = {".txt": "text", ".jsonl": "jsonl", ".parquet": "parquet"}
"""Kinds of input by the name's end."""

PACKED = (".gz", ".zst")
"""Behind ``.txt`` and ``.jsonl``; these files cannot be cut."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One piece of one file."""

    number: int
    """From 0, in the order of the result."""
    file: str
    """The file, as it was named."""
    kind: Kind
    """text: the file is a document; lines, jsonl: a line is; parquet: a row is."""
    packing: str
    """``.gz``, ``.zst`` or empty."""
    first: int
    """First byte, of a parquet file the first row group."""
    last: int
    """The byte or row group behind the last one."""
    size: int
    """Bytes on disk."""


def input_files(inputs: Sequence[Path]) -> list[str]:
    """The files that ``inputs`` mean: files in the order given, of a folder all below, by name.

    Raises:
        UsageError: naming all that are not there or whose kind is not known.
    """
    files: list[str] = []
    problems: list[Problem] = []
    for path in inputs:
        below = sorted(each for each in path.rglob("*") if each.is_file() and _kind(each))
        found = below if path.is_dir() else [path]
        files += [str(each) for each in found]
        problems += _problems(path, found)
    if problems:
        raise UsageError(problems)
    return files


def _problems(path: Path, found: list[Path]) -> Iterator[Problem]:
    kinds = f"{', '.join(SUFFIXES)}; .txt and .jsonl also with {' or '.join(PACKED)}"
    if not path.exists():
        yield Problem(code="no_file", says=f"{path} is not there")
    elif not found:
        yield Problem(code="no_file", says=f"{path} holds no input", hint=f"valid: {kinds}")
    elif not all(_kind(each) for each in found):
        yield Problem(code="kind", says=f"{path} is of no known kind", hint=f"valid: {kinds}")


def _kind(path: Path) -> Kind | None:
    if path.suffix in PACKED:
        inner = SUFFIXES.get(path.with_suffix("").suffix)
        return None if inner == "parquet" else inner
    return SUFFIXES.get(path.suffix)


def cut(files: Sequence[str], *, lines: bool, shard_bytes: int = SHARD_BYTES) -> list[Shard]:
    """The pieces of ``files``; with ``lines`` every line of a .txt is a document."""
    found: list[Shard] = []
    for file in files:
        kind = _kind(Path(file)) or "text"
        kind = "lines" if lines and kind == "text" else kind
        if file.endswith(".zst"):
            extra("zstandard", f"reading {file}")
        for first, last, size in _pieces(Path(file), kind, shard_bytes):
            shard = Shard(
                number=len(found),
                file=file,
                kind=kind,
                packing=Path(file).suffix if Path(file).suffix in PACKED else "",
                first=first,
                last=last,
                size=size,
            )
            found.append(shard)
    return found


def _pieces(file: Path, kind: Kind, shard_bytes: int) -> Iterator[tuple[int, int, int]]:
    """First, last and size of each."""
    size = file.stat().st_size
    if kind == "parquet":
        yield from _row_groups(file, shard_bytes)
    elif kind == "text" or file.suffix in PACKED:
        yield 0, size, size
    else:
        for first in range(0, size, shard_bytes):
            last = min(size, first + shard_bytes)
            yield first, last, last - first


def _row_groups(file: Path, shard_bytes: int) -> Iterator[tuple[int, int, int]]:
    about = parquet(str(file)).metadata
    first = size = 0
    for group in range(about.num_row_groups):
        columns = [about.row_group(group).column(each) for each in range(about.num_columns)]
        size += sum(column.total_compressed_size for column in columns)
        if size >= shard_bytes or group == about.num_row_groups - 1:
            yield first, group + 1, size
            first, size = group + 1, 0


def parquet(file: str) -> Any:
    """The file, opened.

    Raises:
        UsageError: if it is not a parquet file.
    """
    library = extra("pyarrow.parquet", f"reading {file}")
    try:
        return library.ParquetFile(file)
    except (OSError, extra("pyarrow", f"reading {file}").ArrowInvalid) as error:
        raise UsageError(f"{file} cannot be read as parquet: {error}") from error
