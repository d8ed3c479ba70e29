"""The documents of a shard, and what is wrong with the lines that hold none."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from llmtrain.data.blocks import DAMAGED, blocks
from llmtrain.data.extras import extra
from llmtrain.data.shards import Shard, parquet

ROWS = 1024
"""Of a parquet file, read at a time."""

MARK = b"\xef\xbb\xbf"
"""Some editors put it before UTF-8 text."""


@dataclass(kw_only=True, slots=True)
class Chunk:
    """What was read at a time."""

    texts: list[str] = field(default_factory=list)
    """One a document, none of them empty."""
    lines: int = 0
    """Lines or rows that were looked at."""
    empty: int = 0
    """Lines without any text; they are left out."""
    broken: list[tuple[int, str]] = field(default_factory=list)
    """Line or row of the shard, from 1, and what is wrong with it."""
    consumed: int = 0
    """Bytes on disk."""


class Broken(Exception):
    """A line that holds no document, and why."""


def chunks(shard: Shard, key: str, refuses: str) -> Iterator[Chunk]:
    """What ``shard`` holds, piece by piece; texts that hold ``refuses`` are broken."""
    if shard.kind == "parquet":
        yield from _rows(shard, key, refuses)
    elif shard.kind == "text":
        yield _whole(shard, refuses)
    else:
        yield from _lines(shard, key if shard.kind == "jsonl" else None, refuses)


def _whole(shard: Shard, refuses: str) -> Chunk:
    chunk = Chunk(lines=1, consumed=shard.size)
    raw = bytearray()
    try:
        for block, _ in blocks(shard):
            raw += block
        _add(chunk, _decoded(bytes(raw), first=True), refuses)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        chunk.broken.append((line, _not_utf8(error)))
    except (Broken, *DAMAGED) as error:
        chunk.broken.append((raw.count(b"\n") + 1, f"the file is damaged from here on: {error}"))
    return chunk


def _lines(shard: Shard, key: str | None, refuses: str) -> Iterator[Chunk]:
    """``key`` null: a line is a text, else an object."""
    number, rest, first = 0, b"", shard.first == 0
    chunk = Chunk()
    try:
        for block, consumed in blocks(shard):
            *whole, rest = (rest + block).split(b"\n")
            chunk = _parsed(whole, number, key, refuses, first=first)
            chunk.consumed = consumed
            number, first = number + len(whole), first and not whole
            yield chunk
        if rest:
            yield _parsed([rest], number, key, refuses, first=first)
    except DAMAGED as error:
        says = f"the file is damaged from here on: {error}"
        yield Chunk(lines=1, broken=[(number + 1, says)])


def _parsed(
    lines: list[bytes], before: int, key: str | None, refuses: str, *, first: bool
) -> Chunk:
    """``first``: the first of ``lines`` is the first of its file."""
    chunk = Chunk(lines=len(lines))
    for number, raw in enumerate(lines, start=before + 1):
        try:
            text = _decoded(raw, first=first and number == before + 1)
            _add(chunk, text.rstrip("\r") if key is None else _field(text, key), refuses)
        except UnicodeDecodeError as error:
            chunk.broken.append((number, _not_utf8(error)))
        except Broken as error:
            chunk.broken.append((number, str(error)))
    return chunk


def _field(line: str, key: str) -> str:
    """The text of one line of JSON; empty for a line of blanks."""
    try:
        found = json.loads(line)
    except ValueError as error:
        if not line.strip():
            return ""
        raise Broken(f"not JSON: {error}") from error
    except RecursionError as error:
        raise Broken("not JSON that can be read: too deep") from error
    if not isinstance(found, dict):
        raise Broken("not an object of JSON")
    if key not in found:
        # As JSON: what stands in a file may be meant for a terminal.
        names = ", ".join(json.dumps(name)[1:-1] for name in list(found)[:8])
        raise Broken(f"no key `{key}`; keys: {names or 'none'}")
    text = found[key]
    if not isinstance(text, str):
        raise Broken(f"`{key}` is no text but {json.dumps(text)[:40]}")
    # Half of a pair of surrogates is legal JSON, but no text.
    if "\\u" in line and not text.isascii():
        _require_utf8(text)
    return text


def _require_utf8(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Broken(f"holds half a character: {error.reason}") from error


def _add(chunk: Chunk, text: str | None, refuses: str) -> None:
    """Sort ``text`` into ``chunk``."""
    if text is None:
        raise Broken("null where a text is needed")
    if refuses and refuses in text:
        raise Broken(f"holds {refuses!r}, which ends a document")
    if text:
        chunk.texts.append(text)
    else:
        chunk.empty += 1


def _decoded(raw: bytes, *, first: bool) -> str:
    return raw.removeprefix(MARK).decode() if first else raw.decode()


def _not_utf8(error: UnicodeDecodeError) -> str:
    return f"not UTF-8: byte 0x{error.object[error.start]:02x} ({error.reason})"


def _rows(shard: Shard, key: str, refuses: str) -> Iterator[Chunk]:
    groups, file = list(range(shard.first, shard.last)), parquet(shard.file)
    names = list(file.schema_arrow.names)
    rows = sum(file.metadata.row_group(group).num_rows for group in groups)
    if key not in names:
        broken = [(1, f"no column `{key}`; columns: {', '.join(names)}")]
        yield Chunk(lines=1, broken=broken, consumed=shard.size)
        return
    number, damaged = 0, (OSError, extra("pyarrow", f"reading {shard.file}").ArrowInvalid)
    try:
        for batch in file.iter_batches(batch_size=ROWS, row_groups=groups, columns=[key]):
            values = batch.column(0).to_pylist()
            chunk = _cells(values, number, key, refuses)
            chunk.consumed = shard.size * len(values) // rows
            number += len(values)
            yield chunk
    except damaged as error:
        yield Chunk(lines=1, broken=[(number + 1, f"the file is damaged from here on: {error}")])


def _cells(values: list[Any], before: int, key: str, refuses: str) -> Chunk:
    chunk = Chunk(lines=len(values))
    for row, value in enumerate(values, start=before + 1):
        try:
            _add(chunk, _cell(value, key), refuses)
        except (Broken, UnicodeDecodeError) as error:
            chunk.broken.append((row, str(error)))
    return chunk


def _cell(value: Any, key: str) -> str | None:
    if isinstance(value, bytes):
        return value.decode()
    if value is None or isinstance(value, str):
        return value
    raise Broken(f"`{key}` is no text but {str(value)[:40]!r}")
