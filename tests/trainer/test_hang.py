"""A rank that gets no further is named, and the others end."""

from __future__ import annotations

import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from llmtrain.trainer import hang
from llmtrain.trainer.hang import Report
from llmtrain.trainer.reach import View
from llmtrain.trainer.records import event, has_failed
from tests.trainer.test_signals import rank_process, started

if TYPE_CHECKING:
    from tests.trainer.conftest import Lab


def report(rank: int, *, waits: bool = True, step: int = 7) -> Report:
    """Of a rank on node n0, n1, …, two a node."""
    node = f"n{rank // 2}"
    return Report(rank=rank, node=node, doing=f"step {step + 1}", step=step, waits=waits, where="")


def reports(*found: Report) -> dict[int, Report]:
    """By rank."""
    return {each.rank: each for each in found}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (reports(report(0), report(1), report(3)), (2,)),
        (reports(report(0), report(1), report(2), report(3)), ()),
        (reports(report(0), report(1, waits=False), report(2), report(3)), (1,)),
        (
            reports(report(0), report(1, waits=False), report(2, waits=False, step=6), report(3)),
            (2,),
        ),
        (reports(report(0, waits=False), report(1)), (2, 3)),
    ],
)
def test_who_is_missing(said: dict[int, Report], expected: tuple[int, ...]) -> None:
    """The silent ones; else those in no collective, the furthest behind; else nobody."""
    assert hang.missing(said, 4) == expected


def test_the_sentence_names_rank_and_node() -> None:
    """Of a few; of very many the first."""
    nodes = {3: "n1"}
    assert hang.sentence([3], nodes, "step 8", 12.4) == (
        "step 8 has not ended in 12 s: rank 3 on n1 did not arrive"
    )
    assert "all ranks wait" in hang.sentence([], nodes, "step 8", 12)
    assert hang.sentence(range(20), {}, "step 8", 12).endswith("and 12 more did not arrive")
    assert hang.lost_nodes(["n1", "n2"], "step 8", 12.4) == (
        "step 8 has not ended in 12 s: the network has lost n1, n2"
    )


def test_reports_are_whole_or_not_there(tmp_path: Path) -> None:
    """What is written is what is read."""
    where = hang.place_of_report(tmp_path, 4)
    hang.write_report(where, report(3))
    seen = replace(report(1), network=View(met=("n0",), missed=("n2", "n3")))
    hang.write_report(where, seen)

    assert hang.read_reports(where) == reports(seen, report(3))
    assert hang.read_reports(hang.place_of_report(tmp_path, 5)) == {}


def test_who_waits_for_a_rank_that_has_failed_does_not_hang(tmp_path: Path) -> None:
    """Its end may take longer than a step; what an earlier life has said does not count."""
    said = []
    for kind, rank, expected in (
        *(("started", None, False), ("failed", 2, True), ("checkpoint", None, True)),
        *(("resumed", None, False), ("failed", None, False)),
    ):
        event(tmp_path, kind, 1, rank=rank)
        said.append((has_failed(tmp_path), expected))

    assert all(found == expected for found, expected in said)
    assert not has_failed(tmp_path / "nowhere")


def test_a_thread_that_computes_does_not_wait() -> None:
    """Only a frame of the modules in which ranks wait counts."""
    assert hang.whereabouts(threading.get_ident())[0] is False


def test_a_stopped_rank_is_named_and_the_other_writes_its_stack(lab: Lab) -> None:
    """The event has the rank, the log of the one that waited all its stacks."""
    rules = {"least_seconds": 5.0, "start_seconds": 60.0}
    trial = lab.trial(100_000, gpus=2, parallel={"tp": 2}, hang=rules)
    process = started(trial)
    stopped = rank_process(process, 1)
    stopped.send_signal(signal.SIGSTOP)
    rank_process(process, 0).wait(timeout=180)
    stopped.send_signal(signal.SIGKILL)
    process.communicate(timeout=180)

    (found,) = [line for line in trial.lines("events") if line["event"] == "hang"]
    assert [each["rank"] for each in found["missing"]] == [1]
    assert "did not arrive" in found["error"]
    assert process.returncode == 1
    waiting = next(trial.folder.glob("logs/*/rank-0.log")).read_text()
    assert "all stacks:" in waiting and "loop.py" in waiting
