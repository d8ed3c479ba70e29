"""However a file is cut, every document comes once, and every broken line with its number."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmtrain.data.reading import chunks
from llmtrain.data.shards import cut
from tests.data.conftest import TEXTS, jsonl


def read(file: Path, shard_bytes: int = 2**20, lines: bool = False) -> tuple[list[str], Any]:
    """All texts of a file, and the broken lines by absolute number."""
    texts, broken, before = [], [], 0
    for shard in cut([str(file)], lines=lines, shard_bytes=shard_bytes):
        seen = 0
        for chunk in chunks(shard, "text", "\0"):
            texts += chunk.texts
            broken += [(before + line, says) for line, says in chunk.broken]
            assert len(chunk.texts) + chunk.empty + len(chunk.broken) == chunk.lines
            seen += chunk.lines
        before += seen
    return texts, broken


LINE = st.one_of(st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r")), st.none())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINE, max_size=12), st.integers(1, 90), st.booleans())
def test_any_cut_gives_the_same(
    tmp_path: Path, lines: list[str | None], shard_bytes: int, ended: bool
) -> None:
    """Documents and broken lines (here: null) are those of the lines, in order."""
    file = tmp_path / "set.jsonl"
    raw = jsonl(lines)
    file.write_bytes(raw if ended else raw[:-1])

    texts, broken = read(file, shard_bytes)

    assert texts == [line for line in lines if line]
    assert [line for line, _ in broken] == [n for n, line in enumerate(lines, 1) if line is None]


BROKEN = {
    b'{"text": "cut': "not JSON: Unterminated string",
    b'["text"]': "not an object of JSON",
    b'{"body": "a", "id": 7}': "no key `text`; keys: body, id",
    b'{"text": 7}': "`text` is no text but 7",
    b'{"text": "a\xff"}': "not UTF-8: byte 0xff",
    b'{"text": "\\ud800"}': "holds half a character",
    b'{"text": "a\\u0000b"}': r"holds '\x00', which ends a document",
    b"[" * 100_000: "not JSON that can be read: too deep",
}


def test_every_kind_of_broken_line_says_what_it_is(tmp_path: Path) -> None:
    """Good lines around a broken one are kept, blank ones are not broken."""
    raw = b"\xef\xbb\xbf" + b"\n".join(b'{"text": "ok"}\n' + line for line in BROKEN) + b"\n  \n"
    (tmp_path / "set.jsonl").write_bytes(raw)

    texts, broken = read(tmp_path / "set.jsonl")

    assert texts == ["ok"] * len(BROKEN)
    assert [line for line, _ in broken] == list(range(2, 2 * len(BROKEN) + 1, 2))
    assert [says[: len(want)] for (_, says), want in zip(broken, BROKEN.values(), strict=True)] == [
        *BROKEN.values()
    ]


def packed(raw: bytes, packing: str) -> bytes:
    """Packed in two members or frames, as tools that append do."""
    import zstandard

    pack = gzip.compress if packing == ".gz" else zstandard.ZstdCompressor().compress
    return pack(raw[:700]) + pack(raw[700:])


@pytest.mark.parametrize("packing", [".gz", ".zst"])
def test_packed_files_read_whole_or_say_where_they_end(tmp_path: Path, packing: str) -> None:
    """All members count; from where a file is cut off on there is one broken line, no silence."""
    raw = jsonl(TEXTS)
    whole, half = tmp_path / f"whole.jsonl{packing}", tmp_path / f"half.jsonl{packing}"
    whole.write_bytes(packed(raw, packing))
    half.write_bytes(packed(raw, packing)[:-20])

    assert read(whole) == (TEXTS, [])
    texts, broken = read(half)
    assert texts == TEXTS[: len(texts)]
    [(line, says)] = broken
    assert line == len(texts) + 1
    assert says.startswith("the file is damaged from here on: ")


@pytest.mark.parametrize("kind", ["string", "large_string", "binary"])
def test_rows_of_parquet(tmp_path: Path, kind: str) -> None:
    """Row groups are cut between, nulls are broken rows, the other columns are not read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    values: list[Any] = [*TEXTS[:9], None, "", *TEXTS[9:20]]
    if kind == "binary":
        values = [value if value is None else value.encode() for value in values]
    column = pa.array(values, getattr(pa, kind)())
    table = pa.table({"text": column, "id": list(range(len(values)))})
    pq.write_table(table, tmp_path / "set.parquet", row_group_size=4)

    texts, broken = read(tmp_path / "set.parquet", shard_bytes=1)

    assert texts == TEXTS[:20]
    assert broken == [(10, "null where a text is needed")]
    assert len(cut([str(tmp_path / "set.parquet")], lines=False, shard_bytes=1)) == 6


def test_a_text_is_a_document_or_each_of_its_lines_is(tmp_path: Path) -> None:
    """A file that is not UTF-8 is broken at a line; by lines, only that line is."""
    good, bad = tmp_path / "good.txt", tmp_path / "bad.txt"
    good.write_bytes("é\n\r\nb\r\n".encode())
    bad.write_bytes(b"a\nb\n\xff\nc")

    assert read(good) == (["é\n\r\nb\r\n"], [])
    assert read(good, lines=True) == (["é", "b"], [])
    assert read(good, 1, lines=True) == (["é", "b"], [])
    assert read(bad) == ([], [(3, "not UTF-8: byte 0xff (invalid start byte)")])
    assert read(bad, lines=True) == (
        ["a", "b", "c"],
        [(3, "not UTF-8: byte 0xff (invalid start byte)")],
    )


def test_json_written_with_and_without_escapes_reads_alike(tmp_path: Path) -> None:
    """Escaped characters, pairs of surrogates among them, are the characters."""
    text = "naïve 😀"
    for ascii in (True, False):
        raw = json.dumps({"text": text}, ensure_ascii=ascii).encode()
        (tmp_path / "set.jsonl").write_bytes(raw)
        assert read(tmp_path / "set.jsonl") == ([text], [])
