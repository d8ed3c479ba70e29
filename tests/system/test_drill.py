"""The drill, on a real Slurm and on this machine: everything survived, and exactly."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.system.conftest import Bed

FAULTS = ["the time limit", "kill -9 of rank 3", "kill -9 of all on one node", "requeue"]


def test_on_slurm(bed: Bed) -> None:
    """Two nodes: a warning, a rank, a node, a requeue; the lead time beside what is asked for."""
    words = ("recipe=bed-tiny", "--json", "--yes")
    found = json.loads(bed.llmtrain("drill", *words, LLMTRAIN_SETTLE_SECONDS="1"))

    assert found["passed"] and found["exact"]
    assert [each["name"] for each in found["rehearsed"]] == FAULTS
    loaded = [each["loaded"] for each in found["rehearsed"]]
    assert loaded == sorted(set(loaded)) and loaded[0] > 0
    assert found["asked_lead_seconds"] == 60
    assert 0 < found["rehearsed"][0]["lead_seconds"] < 60


def test_on_this_machine(bed: Bed) -> None:
    """Without a scheduler the drill resumes by itself."""
    done = bed.start(bed.command, "drill", "recipe=gpt-tiny")

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("passed") == 3
    assert "with and without the faults: the same" in done.stdout
