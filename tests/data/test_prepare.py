"""Prepared data is what megatron-core would have written, whatever happened on the way."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from llmtrain.config.errors import LaunchError, RunError
from llmtrain.data.indexed import write_index
from llmtrain.data.prepare import prepare
from llmtrain.data.request import Request
from llmtrain.data.work import part
from tests.data.conftest import TEXTS, build, documents, jsonl, pair

pytestmark = pytest.mark.filterwarnings("ignore:.*(Transformer Engine|Apex).*:UserWarning")


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[str, ...]:
    """One file of each kind, with two broken lines."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import zstandard

    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jsonl").write_bytes(jsonl(TEXTS[:20]) + b"{broken\n" + jsonl(TEXTS[20:30]))
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(jsonl(TEXTS[30:40])))
    (folder / "c.jsonl.zst").write_bytes(zstandard.compress(jsonl([*TEXTS[40:50], None])))
    (folder / "d.txt").write_text(TEXTS[50])
    pq.write_table(pa.table({"text": TEXTS[51:]}), folder / "e.parquet", row_group_size=5)
    return tuple(str(file) for file in sorted(folder.iterdir()))


@pytest.mark.parametrize("kind", ["bytes", "bpe", "pieces"])
def test_all_kinds_of_input_give_the_bytes_of_the_builder(
    tmp_path: Path, inputs: tuple[str, ...], kind: str, request: pytest.FixtureRequest
) -> None:
    """Two processes and small pieces make the very files that megatron-core's builder makes."""
    name = kind if kind == "bytes" else str(request.getfixturevalue(kind))
    done = prepare(
        Request(
            files=inputs, prefix=tmp_path / "out/set", tokenizer=name, workers=2, shard_bytes=300
        )
    )
    tokens = documents(done.prefix)
    build(tmp_path / "theirs", tokens, getattr(np, done.dtype))

    assert pair(done.prefix) == pair(tmp_path / "theirs")
    assert len(tokens) == done.tally.documents == len(TEXTS)
    assert sum(map(len, tokens)) == done.tally.tokens
    if kind == "bytes":
        assert [bytes(each[:-1]).decode() for each in tokens] == TEXTS
    assert {each[-1] for each in tokens} == {done.end}
    assert [(Path(each.file).name, each.line) for each in done.broken] == [
        ("a.jsonl", 21),
        ("c.jsonl.zst", 11),
    ]
    text = (tmp_path / "out/set.broken.jsonl").read_text()
    listed = [json.loads(line) for line in text.splitlines()]
    assert [(line["file"], line["line"]) for line in listed] == [
        (inputs[0], 21),
        (inputs[2], 11),
    ]
    assert sorted(os.listdir(tmp_path / "out")) == ["set.bin", "set.broken.jsonl", "set.idx"]


SLOW = """
import sys, time
from pathlib import Path
import llmtrain.data.work as work
from llmtrain.data import pool
from llmtrain.data.prepare import prepare
from llmtrain.data.request import Request

def slowly(request, shard, inner=work.work_on, calls=[]):
    # Each process finishes two shards, and is then busy when its parent is killed.
    calls.append(shard)
    time.sleep(60 if len(calls) > 2 else 0)
    return inner(request, shard)

if __name__ == "__main__":
    pool.work_on = slowly
    prepare(Request(files=(sys.argv[1],), prefix=Path(sys.argv[2]), workers=2, shard_bytes=200))
"""


def test_a_killed_preparation_goes_on(tmp_path: Path) -> None:
    """After SIGKILL no process lives on, nothing half is there; the rest is done, to the byte."""
    file, script = tmp_path / "set.jsonl", tmp_path / "slow.py"
    file.write_bytes(jsonl(TEXTS) * 4)
    script.write_text(SLOW)
    killed = Request(files=(str(file),), prefix=tmp_path / "killed", shard_bytes=200)
    process = subprocess.Popen([sys.executable, str(script), str(file), str(killed.prefix)])
    parent = psutil.Process(process.pid)
    while len(list(killed.work.glob("shard-*.json"))) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    children = parent.children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert psutil.wait_procs(children, timeout=60)[1] == []
    assert not (tmp_path / "killed.idx").exists()
    # What a crash of the machine may leave: counts of a shard whose tokens are not all there.
    os.truncate(part(killed.work, 0, ".bin"), 1)

    done = prepare(killed)
    whole = prepare(
        Request(files=(str(file),), prefix=tmp_path / "whole", workers=2, shard_bytes=200)
    )

    assert 0 < done.kept < done.shards
    assert pair(done.prefix) == pair(whole.prefix)
    assert done.tally == whole.tally
    assert not killed.work.exists()


def test_a_changed_input_is_not_mixed_with_what_was_kept(tmp_path: Path) -> None:
    """Shards of another job are thrown away."""
    file = tmp_path / "set.txt"
    file.write_text("one\nbad\0\ntwo\n")
    request = Request(files=(str(file),), prefix=tmp_path / "set", lines=True, shard_bytes=4)
    with pytest.raises(RunError, match=r"set\.txt, line 1 from byte 4 on: holds '\\x00'"):
        prepare(replace(request, strict=True))
    assert request.work.exists()
    file.write_text("uno\nzwei\n")

    assert prepare(request).kept == 0
    assert documents(request.prefix) == [[*b"uno\0"], [*b"zwei\0"]]


def test_a_result_is_only_replaced_on_demand(tmp_path: Path) -> None:
    """Where there is an index, nothing is done without --overwrite; with it, all is new."""
    file = tmp_path / "set.txt"
    file.write_text("one")
    request = Request(files=(str(file),), prefix=tmp_path / "set")
    prepare(request)
    before = pair(request.prefix)
    file.write_text("two")

    with pytest.raises(LaunchError, match=r"set\.idx exists already"):
        prepare(request)
    assert pair(request.prefix) == before

    prepare(replace(request, overwrite=True))
    assert documents(request.prefix) == [[*b"two\0"]]


def test_counts_that_do_not_agree_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index of other lengths than were counted never gets its name."""
    (tmp_path / "set.txt").write_text("one")
    monkeypatch.setattr(
        "llmtrain.data.merge.write_index",
        lambda path, kind, lengths: write_index(path, kind, lengths + 1),
    )

    with pytest.raises(RunError, match="tokens in the index: 5, but 4 were counted"):
        prepare(Request(files=(str(tmp_path / "set.txt"),), prefix=tmp_path / "set"))
    assert not (tmp_path / "set.idx").exists()
