"""Events and logs of a run are parted by the starts of its ranks."""

import json
from pathlib import Path
from typing import Any

import pytest

from llmtrain.config.errors import RunError
from llmtrain.runs.lives import find_life, lives, part
from llmtrain.runs.why.cause import cause_of_run

SLURM: list[dict[str, Any]] = [
    {"event": "launched", "life": 1},
    {"event": "started", "life": 1},
    {"event": "failed", "rank": 3, "node": "n2", "error": "RuntimeError: out of luck"},
    {"event": "launched", "life": 2},
    {"event": "resumed", "life": 2},
    {"event": "straggler", "rank": 1, "node": "n1", "seconds": 3.0, "usual_seconds": 2.0},
    {"event": "finished"},
]
LOCAL: list[dict[str, Any]] = [
    {"event": "launched"},
    {"event": "started", "life": 1},
    {"event": "stopped"},
    {"event": "launched"},
    {"event": "resumed", "life": 2},
]
BY_HAND: list[dict[str, Any]] = [{"event": "started"}, {"event": "stopped"}, {"event": "resumed"}]


def write(folder: Path, events: list[dict[str, Any]]) -> Path:
    """As events.jsonl of the run in ``folder``."""
    lines = [json.dumps({"time": "2026-01-02T03:04:05+00:00", **event}) for event in events]
    (folder / "events.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return folder


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (SLURM, [(1, True, 3), (2, True, 4)]),
        (LOCAL, [(1, True, 3), (2, True, 2)]),
        (BY_HAND, [(1, False, 2), (2, False, 1)]),
        ([], []),
    ],
)
def test_events_are_parted(
    tmp_path: Path, events: list[dict[str, Any]], expected: list[tuple[int, bool, int]]
) -> None:
    """By the scripts' own count, or by what begins."""
    found = lives(write(tmp_path, events))

    assert [(life.number, life.marked, len(life.events)) for life in found] == expected


def test_logs_are_parted() -> None:
    """By the line with which each life begins; also behind the label of srun."""
    texts = [
        "before",
        "llmtrain: life 1 begins after step 0",
        "a",
        "2: llmtrain: life 3 begins",
        "b",
    ]

    assert part(texts, 1) == range(1, 3)
    assert part(texts, 3) == range(3, 5)
    assert part(texts, 2) == range(0)
    assert part(["no", "marks"], 1) is None


def test_why_of_an_earlier_life(tmp_path: Path) -> None:
    """The run has finished; what happened in its first life can be asked for."""
    folder = write(tmp_path, SLURM)
    log = folder / "logs" / "n2" / "rank-3.log"
    log.parent.mkdir(parents=True)
    log.write_text("llmtrain: life 1 begins\nCUDA out of memory\nllmtrain: life 2 begins\n")

    assert cause_of_run(folder).kind == "none"
    first = cause_of_run(folder, 1)
    assert (first.kind, first.rank, first.host) == ("out_of_memory", 3, "n2")
    with pytest.raises(RunError, match="has no life 7"):
        find_life(folder, 7)


@pytest.mark.parametrize(
    ("command", "rank"), [(["python", "-m", "torch.distributed.run"], None), (["bash"], 1)]
)
def test_a_task_is_a_rank_only_where_slurm_starts_the_ranks(
    tmp_path: Path, command: list[str], rank: int | None
) -> None:
    """Below torchrun the number that srun gives is that of a node's task."""
    folder = write(tmp_path, SLURM[:2])
    (folder / "launch.json").write_text(json.dumps({"command": command}))
    (folder / "logs").mkdir()
    said = "llmtrain: life 1 begins\nsrun: error: n2: task 1: Exited with exit code 137\n"
    (folder / "logs" / "launcher.log").write_text(said)

    found = cause_of_run(folder)
    assert (found.kind, found.host, found.rank) == ("killed", "n2", rank)
