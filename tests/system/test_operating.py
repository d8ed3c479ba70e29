"""Time limits, requeues, ending, and what is said of a run, on a real Slurm."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from tests.system.conftest import Bed

LONG = ("recipe=bed-program", "env.PROGRAM_SECONDS='600'")


def job_of(folder: Path) -> str:
    """Number of the run's newest job."""
    return str(json.loads((folder / "control" / "slurm.json").read_text())["job"])


def events(folder: Path) -> list[str]:
    """What happened, in order."""
    try:
        lines = (folder / "events.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line)["event"] for line in lines]


def ranks_started(folder: Path) -> bool:
    """Whether every rank's program has said its first line."""
    logs = list(folder.glob("logs/*/rank-*.log"))
    return len(logs) == 4 and all(log.read_text().count("argv") for log in logs)


def near_the_time_limit(bed: Bed, folder: Path) -> None:
    """Send what Slurm sends before a time limit: to the batch script only.

    Not by scancel, which takes a minute to do this to a task of an array.
    """
    bed.until(lambda: ranks_started(folder), "the start of the ranks")
    spool, job = f"{bed.environment['BED']}/spool", f"job{int(job_of(folder)):05d}/slurm_script"
    lines = {p: " ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])}
    found = [process for process, line in lines.items() if spool in line and job in line]
    min(found, key=lambda process: process.pid).send_signal(signal.SIGUSR1)


@pytest.mark.parametrize("shape", ["torchrun", "srun"])
def test_the_ranks_are_told_of_the_time_limit_and_the_job_is_requeued(
    bed: Bed, program: str, shape: str
) -> None:
    """The signal reaches the ranks and not their launchers; the same job starts again.

    One of the two waits for Slurm's own signal.
    """
    limit = ("site.time_limit='00:01:00'", "site.slurm.lead_seconds=5") if shape == "srun" else ()
    folder = bed.launch(shape, *LONG, program, f"site.launch={shape}", *limit)
    if not limit:
        near_the_time_limit(bed, folder)

    bed.until(lambda: events(folder).count("launched") == 2, "the second start", 240)
    for log in folder.glob("logs/*/rank-*.log"):
        assert "saved" in log.read_text()
    seen = [each for each in events(folder) if each not in ("unfit", "preflight")]
    assert seen == ["launched", "stopped", "job_ended", "launched"]
    lines = (folder / "events.jsonl").read_text().splitlines()
    ended = next(event for event in map(json.loads, lines) if event["event"] == "job_ended")
    assert (ended["outcome"], ended["status"]) == ("interrupted", 0)


def test_a_chain_submits_the_next_job(bed: Bed, program: str) -> None:
    """When it begins, to wait for its end, in the same folder; its number is on record."""
    folder = bed.launch("chain", *LONG, program, "site.slurm.restart=chain")
    first = job_of(folder)
    near_the_time_limit(bed, folder)

    bed.until(lambda: events(folder).count("launched") == 2, "the second start", 240)
    assert job_of(folder) != first
    chain = (folder / "control" / "chain").read_text().split()
    assert chain[0] == job_of(folder) and len(chain) == 2
    bed.llmtrain("cancel", folder.name)
    bed.until(lambda: bed.run("squeue", "--noheader") == "", "an empty queue")


def test_an_array_goes_on_with_its_next_task_until_the_run_is_over(bed: Bed, program: str) -> None:
    """One task runs at a time; after the end the others have nothing to do."""
    words = ("recipe=bed-program", "env.PROGRAM_SECONDS='20'", program)
    folder = bed.launch("array", *words, "site.slurm.restart=array", "site.slurm.jobs=3")
    near_the_time_limit(bed, folder)

    def gone() -> bool:
        return bed.run("squeue", "--noheader") == ""

    bed.until(gone, "the end of the array")
    assert bed.status(folder)["status"] == "finished"
    assert events(folder).count("launched") == 2


def test_cancel_ends_a_job_after_a_checkpoint(bed: Bed, program: str) -> None:
    """The ranks save first; a queued job leaves the queue at once."""
    folder = bed.launch("cancel", *LONG, program)
    bed.until(lambda: ranks_started(folder), "the start of the ranks")
    assert bed.status(folder)["status"] in ("starting", "running")

    bed.llmtrain("cancel", folder.name)

    assert bed.status(folder)["status"] == "cancelled"
    assert all("saved" in log.read_text() for log in folder.glob("logs/*/rank-*.log"))
    assert bed.start(bed.command, "cancel", folder.name).returncode == 6


MEGATRON = """
import os, signal, sys, time
from pathlib import Path
rank, told = int(os.environ["RANK"]), []
signal.signal(signal.SIGTERM, lambda *_: told.append(rank))
for step in range(1, 601):
    time.sleep(0.2)
    if rank == 3:
        print(f" iteration {step:8}/ 600 | lm loss: 2.5E+00 |", flush=True)
    if told:
        Path("checkpoints/latest_checkpointed_iteration.txt").write_text(str(step))
        sys.exit(print("saved for", len(told)))
"""
"""As Megatron-LM: its last rank tells of each step, and after one all save whom SIGTERM reached."""


@pytest.mark.parametrize("launch", ["torchrun", "srun"])
def test_control_stop_ends_the_job_of_a_program_of_the_users(
    bed: Bed, tmp_path: Path, launch: str
) -> None:
    """Its ranks are told once, whoever leaves the file; nothing is requeued. A save is answered."""
    (tmp_path / "pretrain_gpt.py").write_text(MEGATRON)
    words = ("recipe=bed-program", "run.steps=600", f"backend.path={tmp_path}")
    folder = bed.launch(f"stop-{launch}", *words, f"site.launch={launch}")
    bed.until(lambda: bool(list(folder.glob("logs/*/rank-3.log"))), "the start of the ranks")
    (folder / "control" / "save").touch()
    (folder / "control" / "stop").touch()

    assert bed.wait(folder)["status"] == "stopped"
    bed.until(lambda: bed.run("squeue", "--noheader") == "", "an empty queue")
    said = [log.read_text() for log in folder.glob("logs/*/rank-*.log")]
    assert [text.count("saved for 1") for text in said] == [1, 1, 1, 1]
    assert events(folder).count("launched") == 1
    assert "control/save is left out" in (folder / "logs" / "launcher.log").read_text()
    assert not {"save", "stop", "stopping"} & {each.name for each in folder.glob("control/*")}


def test_a_job_that_waits_is_queued_and_can_be_taken_back(bed: Bed, program: str) -> None:
    """Held by a user, it is ``queued``."""
    folder = bed.launch("held", *LONG, program, "site.slurm.options.hold=''")
    assert bed.status(folder)["status"] == "queued"

    bed.llmtrain("cancel", folder.name)

    assert bed.status(folder)["status"] == "cancelled"
    assert events(folder) == ["cancelled"]


def test_a_failed_rank_ends_the_job_and_the_failure_is_told(bed: Bed, tmp_path: Path) -> None:
    """One rank dies, the others are not waited for; after two restarts the wait ends with 6.

    The status is that of the rank, not of those that Slurm ended after it.
    """
    (tmp_path / "pretrain_gpt.py").write_text(
        "import os, sys, time\n"
        "sys.exit('out of luck') if os.environ['RANK'] == '2' else time.sleep(600)\n"
    )
    begin = time.monotonic()
    words = ("run", "recipe=bed-program", f"backend.path={tmp_path}", "--wait", "--yes")
    done = bed.start(bed.command, *words, LLMTRAIN_SETTLE_SECONDS="1")

    assert done.returncode == 6, done.stderr
    assert re.search(r"the ranks ended: task 2 on node\d with status 1\n", done.stderr)
    assert time.monotonic() - begin < 300


@pytest.mark.parametrize("accounting", [True, False])
def test_a_job_that_slurm_killed_is_lost_with_slurms_reason(
    bed: Bed, program: str, accounting: bool, shims: Callable[..., str]
) -> None:
    """From accounting, or where there is none from the controller."""
    folder = bed.launch("killed", *LONG, program)
    bed.until(lambda: ranks_started(folder), "the start of the ranks")
    bed.run("scancel", "--full", "--signal=KILL", job_of(folder))
    bed.until(lambda: bed.run("squeue", "--noheader") == "", "the end of the job")

    path = shims() if accounting else shims(sacct="echo disabled >&2; exit 1")
    state = json.loads(bed.llmtrain("status", folder.name, "--json", PATH=path))
    assert state["status"] in ("lost", "failed")
    assert f"of job {job_of(folder)}" in state["error"]


def test_a_controller_that_hangs_is_given_up(
    bed: Bed, program: str, shims: Callable[..., str]
) -> None:
    """``status`` answers from what the job wrote, and says what it does not know."""
    folder = bed.launch("hangs", *LONG, program)
    bed.until(lambda: ranks_started(folder), "the start of the ranks")
    begin = time.monotonic()

    path = shims(squeue="sleep 600", scancel="sleep 600", sbatch="sleep 600")
    state = json.loads(bed.llmtrain("status", folder.name, "--json", PATH=path))
    assert state["status"] == "unknown"
    assert bed.start(bed.command, "cancel", folder.name, PATH=path).returncode == 6
    assert time.monotonic() - begin < 300


def read_all(terminal: int) -> bytes:
    """What a terminal shows until nobody holds its other end."""
    said = b""
    with open(terminal, "rb", buffering=0) as file, contextlib.suppress(OSError):
        while more := file.read(65536):
            said += more
    return said


def test_ctrl_c_on_a_terminal_detaches(bed: Bed, program: str) -> None:
    """``run`` follows on a terminal; Ctrl-C leaves the job alone and ends with status 0."""
    words = [str(bed.command), "run", *LONG, program, "run.name=followed", "--yes"]
    master, slave = os.openpty()
    process = subprocess.Popen(
        words, cwd=bed.folder, env=bed.environment, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    bed.until(lambda: bool(list((bed.folder / "outputs").glob("followed-*"))), "a folder")
    folder = next((bed.folder / "outputs").glob("followed-*"))
    bed.until(lambda: ranks_started(folder), "the start of the ranks")

    process.send_signal(signal.SIGINT)
    said = read_all(master)

    assert process.wait(90) == 0
    assert b"detached" in said
    assert bed.status(folder)["status"] in ("starting", "running")


def test_resume_submits_the_run_again(bed: Bed, program: str) -> None:
    """In the same folder, as a new job; while it is in the queue it cannot be resumed."""
    folder = bed.launch("again", *LONG, program)
    bed.until(lambda: ranks_started(folder), "the start of the ranks")
    assert bed.start(bed.command, "resume", folder.name).returncode == 5
    bed.llmtrain("cancel", folder.name)

    bed.llmtrain("resume", folder.name)

    bed.until(lambda: events(folder).count("launched") == 2, "the second start", 240)


def test_a_refused_job_says_what_slurm_said(bed: Bed, program: str) -> None:
    """The folder is whole before Slurm is asked."""
    words = ("recipe=bed-program", program, "site.partition=nowhere", "run.name=refused", "--yes")
    done = bed.start(bed.command, "run", *words)

    assert done.returncode == 5
    assert "nowhere" in done.stderr or "partition" in done.stderr
