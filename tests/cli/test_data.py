"""``llmtrain data prepare``: what it prints, and the status of each kind of mistake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.cli.conftest import COMMAND

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
    assert "warning: 1 broken line left out; see out/set.broken.jsonl" in done.err
    assert Path("out/set.bin").read_bytes() == b"one\0three\0"


def test_a_person_is_told_how_to_go_on(cli: Callable[..., Done]) -> None:
    """The last line is what a recipe needs."""
    Path("set.txt").write_text("text")

    done = cli("data", "prepare", ".", "-o", "set", "--workers", "1")

    assert done.status == 0
    assert "1 document, 5 tokens of uint8" in done.out
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


def break_off(process: subprocess.Popen[str], how: str) -> None:
    """As a terminal does it, or as the kernel does where memory has run out."""
    if how == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    else:
        children = psutil.Process(process.pid).children()
        worker = next(each for each in children if "spawn_main" in " ".join(each.cmdline()))
        worker.kill()


@pytest.mark.parametrize(
    ("how", "status", "says"),
    [("Ctrl-C", 130, "stopped; what is finished is kept"), ("OOM", 6, "a process was killed")],
)
def test_what_was_broken_off_is_gone_on_with(
    cli: Callable[..., Done], how: str, status: int, says: str
) -> None:
    """The command says so, leaves no process behind, and then the same command goes on."""
    line = json.dumps({"text": "a line of some length. " * 40}) + "\n"
    Path("set.jsonl").write_text(line * 100_000)
    words = ("data", "prepare", "set.jsonl", "--output", "set", "--workers", "1")
    process = subprocess.Popen(
        [COMMAND, *words], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not list(Path().glob("set.partial/shard-*.bin")):
        assert process.poll() is None
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    break_off(process, how)
    _, err = process.communicate(timeout=60)

    assert (process.returncode, says in err, "Traceback" in err) == (status, True, False), err
    assert psutil.wait_procs(children, timeout=60)[1] == []
    assert sorted(os.listdir()) == ["set.jsonl", "set.partial"]

    done = cli(*words, "--json")
    assert (done.status, json.loads(done.out)["documents"]) == (0, 100_000)
