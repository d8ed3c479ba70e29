"""The drill, on a real Slurm and on this machine: everything survived, and exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.system.conftest import Bed

PROGRAM = r"""
import argparse, os, pathlib, signal, sys, time, zipfile
parser = argparse.ArgumentParser()
for name, kind in (("save", pathlib.Path), ("load", pathlib.Path), ("train-iters", int)):
    parser.add_argument(f"--{name}", type=kind, required=True)
parser.add_argument("--save-interval", type=int, required=True)
parser.add_argument("--exit-signal-handler", action="store_true")
asked, _ = parser.parse_known_args()
rank, world, told = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), []
if asked.exit_signal_handler:
    signal.signal(signal.SIGTERM, lambda *_: told.append(True))

def tracker(folder):
    return folder / "latest_checkpointed_iteration.txt"

def save(step):
    for part in range(2 if rank == 0 else 0):
        path = asked.save / f"iter_{step:07d}" / f"mp_rank_{part:02d}" / "model_optim_rng.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data.pkl", b"0")
    if rank == 0:
        tracker(asked.save).write_text(str(step))

done = int(tracker(asked.load).read_text()) if tracker(asked.load).exists() else 0
while done < asked.train_iters:
    time.sleep(0.03)
    done += 1
    if rank == world - 1:
        print(f" iteration {done:8}/{asked.train_iters:8} | lm loss: {5 / done:.6E} |", flush=True)
    if told or done % asked.save_interval == 0:
        save(done)
    if told:
        sys.exit()
"""
"""Stands for Megatron-LM: its arguments, its tracker and files, the line of its last rank, and a
checkpoint on SIGTERM where it is asked to handle that."""
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


def test_a_checkout_of_the_users(bed: Bed, tmp_path: Path) -> None:
    """By what Megatron-LM writes: its log, its tracker, its files."""
    (tmp_path / "pretrain_gpt.py").write_text(PROGRAM)
    words = ("recipe=bed-program", f"backend.path={tmp_path}", "--json", "--yes")
    found = json.loads(bed.llmtrain("drill", *words, LLMTRAIN_SETTLE_SECONDS="1"))

    assert found["passed"] and found["exact"]
    assert [each["name"] for each in found["rehearsed"]] == FAULTS
    loaded = [each["loaded"] for each in found["rehearsed"]]
    assert loaded == sorted(set(loaded)) and loaded[0] > 0


def test_on_this_machine(bed: Bed) -> None:
    """Without a scheduler the drill resumes by itself."""
    done = bed.start(bed.command, "drill", "recipe=gpt-tiny")

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("passed") == 3
    assert "with and without the faults: the same" in done.stdout
