"""``llmtrain data prepare``: what it prints, and the status of each kind of mistake."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Done

RAW = b'{"text": "one"}\nbroken\n{"text": ""}\n{"text": "three"}\n'


def test_counts_are_data_and_broken_lines_are_warnings(cli: Callable[..., Done]) -> None:
    """JSON on stdout is exact; each broken line is named on stderr with its file."""
    Path("set.jsonl").write_bytes(RAW)

    done = cli("data", "prepare", "set.jsonl", "--output", "out/set", "--workers", "1", "--json")

    found = json.loads(done.out)
    assert done.status == 0
    assert (found["documents"], found["tokens"], found["empty"], found["broken"]) == (2, 10, 1, 1)
    assert (found["vocab"], found["dtype"], found["end"]) == (256, "uint8", 0)
    assert [(each["file"], each["line"]) for each in found["broken_lines"]] == [("set.jsonl", 2)]
    assert "warning: set.jsonl, line 2: not JSON" in done.err
    assert Path("out/set.bin").read_bytes() == b"one\0three\0"


def test_a_person_is_told_how_to_go_on(cli: Callable[..., Done]) -> None:
    """The last line is what a recipe needs."""
    Path("set.txt").write_text("text")

    done = cli("data", "prepare", ".", "-o", "set", "--workers", "1")

    assert done.status == 0
    assert "1 documents, 5 tokens of uint8" in done.out
    assert f"data=indexed 'data.paths=[{Path.cwd()}/set]'" in done.out


def test_each_mistake_has_its_status(
    cli: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Usage 2, what is impossible here 5, a broken line that is an error 6."""
    Path("set.jsonl").write_bytes(RAW)
    Path("set.jsonl.zst").write_bytes(b"")
    Path("set.pdf").touch()
    monkeypatch.setitem(sys.modules, "zstandard", None)
    cases = {
        ("no.txt",): (2, "no.txt is not there"),
        ("set.pdf",): (2, "set.pdf is of no known kind"),
        ("set.jsonl", "--tokenizer", "no.json"): (2, "the tokenizer no.json is not there"),
        ("set.jsonl.zst",): (5, "reading set.jsonl.zst needs zstandard"),
        ("set.jsonl", "--strict"): (6, "set.jsonl, line 2: not JSON"),
    }

    for arguments, (status, says) in cases.items():
        done = cli("data", "prepare", *arguments, "--output", "out", "--workers", "1")
        assert (done.status, says in done.err) == (status, True), done.err
    assert not Path("out.idx").exists()
