"""When a run goes on by itself, and when it does not: guarded by new checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.system.conftest import Bed

BROKEN = """
import os, pathlib, sys, time
tracker = pathlib.Path("checkpoints/latest_checkpointed_iteration.txt")
done = int(tracker.read_text()) if tracker.exists() else 0
print("begun from", done, flush=True)
if os.environ["RANK"] != "0":
    time.sleep(60)
if done < {good}:
    tracker.write_text(str(done + 10))
sys.exit("RuntimeError: out of luck")
"""
"""A program that fails in every life; in the first ones it saves before, as Megatron-LM does."""


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Of one kind."""
    lines = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    return [event for event in lines if event["event"] == kind]


def failing(bed: Bed, good: int, *words: str) -> Path:
    """A run of the program above, at its end."""
    (bed.folder / "pretrain_gpt.py").write_text(BROKEN.replace("{good}", str(good)))
    path = f"backend.path={bed.folder}"
    environment = {"LLMTRAIN_SETTLE_SECONDS": "1"}
    folder = bed.launch("broken", "recipe=bed-program", path, *words, **environment)
    assert bed.wait(folder)["status"] == "failed"
    return folder


@pytest.mark.parametrize("restart", ["requeue", "chain", "array"])
def test_restarts_end_when_they_lead_no_further(bed: Bed, restart: str) -> None:
    """Two in a row without a new checkpoint are enough; nothing is left in the queue."""
    folder = failing(bed, 0, f"site.slurm.restart={restart}", "site.slurm.jobs=4")

    assert len(events(folder, "launched")) == 3
    (ended,) = events(folder, "job_ended")
    assert (ended["outcome"], ended["next"]) == ("failed", None)
    assert ended["reason"] == "2 restarts in a row made no new checkpoint"
    bed.until(lambda: bed.run("squeue", "--noheader") == "", "an empty queue")


def test_a_new_checkpoint_is_worth_a_restart(bed: Bed) -> None:
    """Three lives that each make one count as progress; the two after them do not."""
    folder = failing(bed, 30)

    assert len(events(folder, "launched")) == 5
    lives = (folder / "control" / "lives").iterdir()
    assert sorted(path.read_text().split()[0::2] for path in lives) == [
        *(["1", "0"], ["2", "10"], ["3", "20"], ["4", "30"], ["5", "30"])
    ]


def test_no_restart_where_none_is_wanted(bed: Bed) -> None:
    """``site.slurm.max_restarts=0``: the first failure is the last."""
    folder = failing(bed, 30, "site.slurm.max_restarts=0")

    assert len(events(folder, "launched")) == 1
