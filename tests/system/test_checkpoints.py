"""A program of the user's in a real Slurm: what it goes on from is looked at before it starts."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.system.conftest import Bed

TRACKER = "latest_checkpointed_iteration.txt"


def save(run: Path, step: int, tp: int = 2) -> Path:
    """A checkpoint in Megatron-LM's ``torch`` format; the tracker names it."""
    folder = run / "checkpoints" / f"iter_{step:07d}"
    for rank in range(tp):
        path = folder / f"mp_rank_{rank:02d}" / "model_optim_rng.pt"
        path.parent.mkdir(parents=True)
        arguments = Namespace(tensor_model_parallel_size=tp, pipeline_model_parallel_size=1)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("state/data.pkl", pickle.dumps({"iteration": step, "args": arguments}))
    (run / "checkpoints" / TRACKER).write_text(str(step))
    return folder


def moves(run: Path) -> list[tuple[str, str]]:
    """What the tracker said and says, of every time it was moved."""
    lines = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    return [(line["was"], line["now"]) for line in lines if line["event"] == "tracker_moved"]


def test_a_broken_checkpoint_is_not_gone_on_from(bed: Bed, program: str) -> None:
    """The job moves the tracker before the ranks start; `resume` does so, or refuses to queue."""
    run = bed.launch("mine", "recipe=bed-program", program, "site.slurm.restart=none")
    assert bed.wait(run)["status"] == "finished"
    save(run, 10)
    (save(run, 20) / "mp_rank_01" / "model_optim_rng.pt").unlink()

    bed.run("sbatch", "--wait", "--chdir", run, run / "job.sbatch")

    assert moves(run) == [("20", "10")]
    assert (run / "checkpoints" / TRACKER).read_text() == "10"

    (run / "checkpoints" / TRACKER).write_text("20")
    more = ("run.steps=200",)
    done = bed.start(bed.command, "resume", run.name, *more)

    assert done.returncode == 0, done.stderr
    assert "iter_0000020 is passed over: mp_rank_01/model_optim_rng.pt is missing" in done.stderr
    assert moves(run) == [("20", "10"), ("20", "10")]
    assert bed.wait(run)["status"] == "finished"

    jobs = json.loads((run / "control" / "slurm.json").read_text())
    done = bed.start(
        bed.command, "resume", run.name, "parallel.tp=1", "parallel.pp=2", "run.steps=300"
    )

    assert done.returncode == 5
    assert "tools/checkpoint/convert.py" in done.stderr
    assert json.loads((run / "control" / "slurm.json").read_text()) == jobs


def test_a_run_that_has_lost_its_checkpoints(bed: Bed, program: str) -> None:
    """Emptied, or a link to what is not mounted: the job ends, and does not begin again."""
    run = bed.launch("lost", "recipe=bed-program", program, "site.slurm.restart=none")
    assert bed.wait(run)["status"] == "finished"
    save(run, 10)
    bed.run("sbatch", "--wait", "--chdir", run, run / "job.sbatch")
    shutil.rmtree(run / "checkpoints")

    def error() -> str:
        done = bed.start("sbatch", "--wait", "--chdir", run, run / "job.sbatch")
        last = json.loads((run / "events.jsonl").read_text().splitlines()[-1])
        return f"{done.returncode} {last['event']}: {last['error']}"

    assert error() == "5 failed: the checkpoint of step 10 is gone: the run does not begin again"
    (run / "checkpoints").rmdir()
    (run / "checkpoints").symlink_to("/not/mounted")
    assert error() == "5 failed: checkpoints is a link to /not/mounted, which is not there"
    done = bed.start(bed.command, "resume", run.name, "run.steps=200", "--check")
    assert (done.returncode, "is a link to /not/mounted" in done.stdout) == (5, True)
