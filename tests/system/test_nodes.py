"""Which nodes a run uses, in which order, and what happens when one is lost."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.system.conftest import Bed

LONG = "env.PROGRAM_SECONDS='600'"


def environ(folder: Path) -> list[dict[str, str]]:
    """Of every rank, in order."""
    lines = [
        line
        for path in folder.glob("logs/*/rank-*.log")
        for line in path.read_text().splitlines()
        if line.startswith("{")
    ]
    found: list[dict[str, str]] = [json.loads(line)["environ"] for line in lines]
    return sorted(found, key=lambda each: int(each["RANK"]))


@pytest.mark.parametrize("shape", ["torchrun", "srun"])
def test_neighbouring_ranks_lie_on_the_same_switch(bed: Bed, program: str, shape: str) -> None:
    """The test-bed's switches part its nodes into odd and even; half of the traffic is saved."""
    words = ("recipe=bed-program", "gpus=8", "batch.global=16", program, f"site.launch={shape}")
    folder = bed.launch(shape, *words)
    assert bed.wait(folder)["status"] == "finished"

    nodes = [each["SLURMD_NODENAME"] for each in environ(folder)]
    assert nodes == [node for node in ("node1", "node3", "node2", "node4") for _ in range(2)]
    assert {each["MASTER_ADDR"] for each in environ(folder)} == {"node1"}
    said = (folder / "logs" / "launcher.log").read_text()
    saved = re.search(r"2 leaf switches: ([\d.]+) MB a step cross them, not ([\d.]+) MB", said)
    assert saved and float(saved[1]) == pytest.approx(float(saved[2]) / 2, abs=0.1)


def test_the_order_of_ranks_can_be_left_to_slurm(bed: Bed, program: str) -> None:
    """``site.slurm.rank_order=slurm``: by name."""
    words = ("recipe=bed-program", "gpus=8", "batch.global=16", "site.slurm.rank_order=slurm")
    folder = bed.launch("plain", *words, program)
    assert bed.wait(folder)["status"] == "finished"

    nodes = [each["SLURMD_NODENAME"] for each in environ(folder)]
    assert nodes == [f"node{number}" for number in (1, 1, 2, 2, 3, 3, 4, 4)]


def test_a_spare_takes_the_place_of_a_lost_node(bed: Bed, program: str) -> None:
    """In the same job, without a new wait in the queue."""
    words = ("recipe=bed-program", "nodes.spare=1", LONG, program)
    folder = bed.launch("spare", *words, LLMTRAIN_SETTLE_SECONDS="1")
    bed.until(lambda: len(environ(folder)) == 4, "the start of the ranks", 120)
    used = {each["SLURMD_NODENAME"] for each in environ(folder)}
    lost = sorted(used)[-1]
    job = json.loads((folder / "control" / "slurm.json").read_text())["job"]
    try:
        bed.run("scontrol", "update", f"nodename={lost}", "state=down", "reason=test")
        bed.until(lambda: len(environ(folder)) == 8, "the second start", 120)
    finally:
        bed.run("scontrol", "update", f"nodename={lost}", "state=resume", check=False)

    again = {each["SLURMD_NODENAME"] for each in environ(folder)}
    assert len(used) == 2 and len(again) == 3
    assert json.loads((folder / "control" / "slurm.json").read_text())["job"] == job
    assert f"{lost} is lost" in (folder / "logs" / "launcher.log").read_text()


@pytest.mark.parametrize("shape", ["torchrun", "srun"])
def test_a_heterogeneous_job_is_one_world(bed: Bed, program: str, shape: str) -> None:
    """Parts in two partitions; the ranks count through both and meet on the first node."""
    parts = ("site.slurm.groups=[1,2]", "site.slurm.partitions=[debug,gpu]")
    words = ("recipe=bed-program", "gpus=6", "batch.global=12", *parts, f"site.launch={shape}")
    folder = bed.launch(shape, *words, program)
    assert bed.wait(folder)["status"] == "finished"

    ranks = environ(folder)
    assert [int(each["RANK"]) for each in ranks] == list(range(6))
    assert {each["WORLD_SIZE"] for each in ranks} == {"6"}
    assert {each["MASTER_ADDR"] for each in ranks} == {ranks[0]["SLURMD_NODENAME"]}
    assert len({each["SLURMD_NODENAME"] for each in ranks}) == 3
