"""``why`` is right about faults that were really made, and about logs written after reports."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from llmtrain.runs.why.cause import Cause, cause_of_files, cause_of_run
from llmtrain.runs.why.patterns import ROLES, book

ROOT = Path(__file__).parents[3]
CORPUS = Path(__file__).parent / "corpus"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The clock of the machine that made the corpus: its logs name no zone."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_corpus() -> None:
    """Class, and rank, host, phase and node to leave out as far as a case says them.

    Every class has a case, and every case a source.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.why", "--json"],
        cwd=ROOT,
        env=os.environ | {"TZ": "UTC"},
        capture_output=True,
        text=True,
        check=True,
    )
    scores = json.loads(done.stdout)

    assert scores["wrong"] == {}
    assert set(scores["classes"]) - {"none", "unknown"} == set(book().classes)
    assert scores["without_source"] == []


def test_every_pattern_has_a_class_a_role_and_a_source() -> None:
    """A new pattern fails here until it says where its signature was read."""
    for pattern in book().patterns:
        assert pattern.kind in book().classes
        assert pattern.role in ROLES
        assert pattern.source


def written(files: dict[str, str], folder: Path) -> list[Path]:
    """The logs of a case as files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def read(name: str) -> Any:
    """A file of the corpus."""
    return yaml.safe_load((CORPUS / name).read_text())


def test_the_answer_does_not_depend_on_the_order_of_the_logs(tmp_path: Path) -> None:
    """The same files, named the other way round."""
    files = written(read("hardware.yaml")[0]["files"], tmp_path)

    assert len(files) == 3
    assert cause_of_files(files).hit == cause_of_files(files[::-1]).hit


def test_an_earlier_life_is_over(tmp_path: Path) -> None:
    """A run that failed, went on and failed again: the second failure counts."""
    files = read("made-notdir.yaml")["files"]
    old = "Traceback (most recent call last):\nModuleNotFoundError: No module named 'apex'\n"
    first = '{"time": "2026-11-25T20:00:00.000+00:00", "event": "launched", "step": null}\n'
    files["events.jsonl"] = first + files["events.jsonl"]
    for rank in (0, 1):
        files[f"logs/n01/rank-{rank}.log"] = old + files[f"logs/n01/rank-{rank}.log"]
    written(files, tmp_path)

    assert cause_of_run(tmp_path).kind == "file_system"


def cause_of_life(folder: Path, failed: dict[str, Any], log: str, lines: tuple[str, ...]) -> Cause:
    """Of a run with one life, in which there is a record of the failure and one log."""
    launched = {"time": "2026-11-26T08:50:30.949+00:00", "event": "launched", "life": 1}
    events = (launched, {"event": "failed", **failed})
    told = "\n".join(json.dumps(event) for event in events)
    written({"events.jsonl": told, log: "\n".join(lines)}, folder)
    return cause_of_run(folder)


def test_in_one_second_a_stamp_of_its_own_comes_first(tmp_path: Path) -> None:
    """torchrun's stamps are whole seconds, and what srun says below them came half a minute on."""
    failed = {
        "time": "2026-11-26T08:51:05.817+00:00",
        "rank": None,
        "node": "n2",
        "error": "step 11 has not ended in 6 s: the network has lost n2",
    }
    lines = (
        "llmtrain: life 1 begins after step 0",
        "0:   time      : 2026-11-26_08:51:05",
        "0:   exitcode  : 6 (pid: 445)",
        "srun: error: Node failure on n2",
    )

    cause = cause_of_life(tmp_path, failed, "logs/launcher.log", lines)

    assert (cause.kind, cause.host, cause.rank) == ("fabric", "n2", None)


def test_a_rank_that_crashes_when_it_is_ended_had_hung_before(tmp_path: Path) -> None:
    """Its last line with a time is older than the hang; what stands below it came later."""
    failed = {
        "time": "2026-11-26T08:50:53.504+00:00",
        "rank": 3,
        "node": "n3",
        "error": "step 11 has not ended in 6 s: rank 3 on n3 did not arrive",
    }
    lines = (
        "llmtrain: life 1 begins",
        "2026-11-26 08:50:41 2435:2435 profiler_stop",
        "Fatal Python error: Segmentation fault",
    )

    cause = cause_of_life(tmp_path, failed, "logs/n3/rank-3.log", lines)

    assert (cause.kind, cause.host, cause.rank) == ("hang", "n3", 3)


def test_what_was_survived_is_no_cause(tmp_path: Path) -> None:
    """A failure that is followed by two steps in the same log: one may have been under way."""
    failed, step = "OSError: [Errno 28] No space left on device\n", " iteration 5/ 9 | lm loss: 2\n"

    def cause(text: str) -> Cause:
        return cause_of_files(written({"out.log": text}, tmp_path))

    assert cause(step + failed).kind == "file_system"
    assert cause(step + step + failed + step).kind == "file_system"
    assert cause(step + failed + step + step).kind == "unknown"


@pytest.mark.parametrize(
    ("end", "kind"), [("stopped", "none"), ("cancelled", "cancelled"), ("finished", "none")]
)
def test_runs_that_did_not_fail(tmp_path: Path, end: str, kind: str) -> None:
    """Stopped on request, cancelled, finished."""
    events = [{"event": each, "time": "2026-01-01T00:00:00Z"} for each in ("launched", "started")]
    lines = [json.dumps(each) for each in (*events, events[0] | {"event": end})]
    (tmp_path / "events.jsonl").write_text("\n".join(lines))

    assert cause_of_run(tmp_path).kind == kind


def test_a_log_of_binary_rubbish(tmp_path: Path) -> None:
    """Is no failure that is known; nor is an empty one."""
    (tmp_path / "a.log").write_bytes(bytes(range(256)) * 100)
    (tmp_path / "b.log").write_bytes(b"")

    assert cause_of_files([tmp_path / "a.log", tmp_path / "b.log"]).kind == "unknown"


LAST_WORDS = {
    "1 nodes can work; the run needs 2. Not fit: n2: /nvme: 0.0 GiB free; leave out with "
    "--exclude=n2": ("node_failure", "n2"),
    "0 nodes can work; the run needs 2: it is not one of them, but what all have. n1: NCCL sends "
    "by Socket; efa is promised": ("fabric", "n1"),
    "the ranks ended on 2 of 2 nodes, n1 first: NCCL sends by Socket; efa is promised": (
        "fabric",
        "n1",
    ),
    "0 nodes can work; the run needs 2: it is not one of them, but what all have. n1: locked "
    "memory 65536 bytes": ("node_failure", "n1"),
}


@pytest.mark.parametrize("line", LAST_WORDS)
def test_what_a_preflight_ends_with(tmp_path: Path, line: str) -> None:
    """The job's own last word."""
    files = written({"launcher.log": f"llmtrain: n2: stop: x\nllmtrain: {line}\n"}, tmp_path)
    cause = cause_of_files(files)

    assert (cause.kind, cause.host) == LAST_WORDS[line]


def test_what_nccl_warned_of_in_a_log_of_its_own(tmp_path: Path) -> None:
    """Of that life; what it tried and chose, though it sounds like one, is no failure."""
    events = [
        {"event": "launched", "time": "2026-01-01T00:00:00Z", "life": life} for life in (1, 2)
    ]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events))
    failed = "n1:7:9 [3] transport/net_ib.cc:1 NCCL WARN NET/IB : Got completion with error 12\n"
    tried = "n1:7:9 [0] NCCL INFO NET/Plugin: cannot open shared object file: libnccl-net.so\n"
    written({"logs/n1/nccl-1.log": tried + failed, "logs/n1/nccl-2.log": tried}, tmp_path)

    assert cause_of_run(tmp_path, 1).kind == "fabric"
    assert cause_of_run(tmp_path, 2).kind == "unknown"


def test_ranks_that_fail_at_once_in_one_log(tmp_path: Path) -> None:
    """Each traceback is that of its rank, whatever lines of others stand between."""
    text = """
[rank1]: Traceback (most recent call last):
[rank2]: Traceback (most recent call last):
[rank1]:   File "a.py", line 1, in load_checkpoint
[rank2]:   File "a.py", line 1, in backward
[rank1]: KeyError: 'state'
[rank2]: torch.OutOfMemoryError: CUDA out of memory. GPU 2 has a total capacity of 79 GiB
"""

    def cause(text: str) -> Cause:
        return cause_of_files(written({"out.log": text}, tmp_path))

    first = cause(text)
    second = cause(text.replace("KeyError: 'state'", "KeyboardInterrupts"))

    assert (first.kind, first.rank) == ("checkpoint", 1)
    assert (second.kind, second.rank, second.phase) == ("out_of_memory", 2, "backward pass")


def test_what_a_logger_puts_before_a_traceback(tmp_path: Path) -> None:
    """Is taken off, though its time changes from line to line."""
    lines = (
        "2025-10-31 03:11:02,473 - my - INFO - Traceback (most recent call last):",
        '2025-10-31 03:11:02,474 - my - INFO -   File "a.py", line 7, in <module>',
        "2025-10-31 03:11:02,475 - my - INFO -     raise ValueError",
        "2025-10-31 03:11:03,016 - my - INFO - ValueError: expected 8 experts",
    )

    assert cause_of_files(written({"o.log": "\n".join(lines)}, tmp_path)).kind == "error"


def test_an_exception_that_says_nothing_by_what_its_message_says(tmp_path: Path) -> None:
    """But not by what a scheduler does to the run that hangs after it."""
    general = "Traceback (most recent call last):\nRuntimeError: Failed to import x\n"
    said = "/opt/x.so: undefined symbol: _ZN3c104cuda9SetDeviceEi\n"
    limit = "error: *** JOB 5 ON n1 CANCELLED AT 2025-01-01T12:00:00 DUE TO TIME LIMIT ***\n"

    def cause(text: str) -> str:
        return cause_of_files(written({"out.log": text}, tmp_path)).kind

    assert cause(general + said) == "import"
    assert cause(general + limit) == "error"
