"""task.sh hands the job's signals on to the ranks alone."""

import os
import re
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from llmtrain.launchers.launch import Launch

SLURM = ("recipe=gpt3-126m", "gpus=16", "backend.path=/opt/m", "site.scheduler=slurm")
RANK = "trap 'echo rank got TERM; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
HELPER = "trap 'echo helper got TERM' TERM; while :; do sleep 0.05; done"
LAUNCHER = f"""
bash -c {HELPER!r} & helper=$!
LOCAL_RANK=0 bash -c {RANK!r} & rank=$!
status=0; wait $rank || status=$?
kill -KILL $helper
echo rank ended with $status
"""
"""Stands for torchrun: starts a rank, and a process that is none."""


def run_task(folder: Path, script: str, launcher: list[str], number: signal.Signals) -> str:
    """What the task prints that starts `launcher` and gets a signal once the rank is ready."""
    start = "start=(" + " ".join(f"'{word}'" for word in launcher) + ")"
    text = re.sub(r"^start=\(.*\)$", lambda _: start, script, count=1, flags=re.M)
    text = text.replace("probe=fail\n", "probe=off\n").replace("watched=1\n", "watched=0\n")
    (folder / "control").mkdir()
    place = {"MASTER_ADDR": "n1", "MASTER_PORT": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    environment = {**os.environ, **place, "LLMTRAIN_RUN": str(folder), "LLMTRAIN_PYTHON": "python"}
    command = ["bash", "-c", text]
    task = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert task.stdout
        assert task.stdout.readline() == "ready\n"
        task.send_signal(number)
        return task.communicate(timeout=90)[0]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(task.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (signal.SIGUSR1, "rank got TERM\nrank ended with 0\n"),
        (signal.SIGUSR2, f"rank ended with {128 + signal.SIGKILL}\n"),
    ],
)
def test_the_ranks_of_torchrun_get_the_signal_and_nobody_else(
    launch_of: Callable[..., Launch], tmp_path: Path, number: signal.Signals, says: str
) -> None:
    """SIGUSR1 asks them for a checkpoint, SIGUSR2 ends them; their launcher outlives both."""
    script = launch_of(*SLURM, "site.launch=torchrun").files["task.sh"]
    (tmp_path / "launcher.sh").write_text(LAUNCHER)

    assert run_task(tmp_path, script, ["bash", str(tmp_path / "launcher.sh")], number) == says


def test_a_task_that_is_one_rank_hands_the_signal_to_it(
    launch_of: Callable[..., Launch], tmp_path: Path
) -> None:
    """Where srun starts every rank there is no launcher between."""
    script = launch_of(*SLURM, "site.launch=srun").files["task.sh"]
    (tmp_path / "rank.sh").write_text(RANK)

    said = run_task(tmp_path, script, ["bash", str(tmp_path / "rank.sh")], signal.SIGUSR1)
    assert said == "rank got TERM\n"
