"""Runs whose job is a few lines of bash: fast, and as misbehaved as a test wants."""

import io
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from llmtrain.launchers.launch import Launch, Program
from llmtrain.runs.folder import make_folder
from llmtrain.runs.process import is_alive, launcher_of

TRAINER = """\
say() { echo "{\\"time\\": \\"-\\", \\"event\\": \\"$1\\", \\"step\\": $2}" >>events.jsonl; }
mkdir -p logs/here
echo "rank 0 of 1" >>logs/here/rank-0.log
done=$(cat checkpoints/newest 2>/dev/null || echo 0)
[[ $done == 0 ]] && say started 0 || say resumed "$done"
while [[ $done -lt $STEPS ]]; do
    done=$((done + 1))
    row="\\"step\\": $done, \\"loss\\": $((9 - done)).5, \\"tokens_per_second\\": 100"
    echo "{$row}" >>metrics.jsonl
    if [[ -e control/stop || $done == "$STEPS" ]]; then
        echo "$done" >checkpoints/newest
        say checkpoint "$done"
        rm -f control/stop
        [[ $done == "$STEPS" ]] && say finished "$done" || say stopped "$done"
        exit 0
    fi
    sleep "$PAUSE"
done
"""
"""A job that behaves as the trainer does, but for the training."""


@pytest.fixture(autouse=True)
def no_site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Runs lie in ./outputs of an empty folder."""
    monkeypatch.delenv("LLMTRAIN_RUNS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def launch_with() -> Callable[..., Launch]:
    """A launch whose job is ``script``."""

    def launch(script: str = "", name: str = "test", steps: int = 6) -> Launch:
        files = {
            "job.sh": script,
            "launch.json": json.dumps({"script": "job.sh"}),
            "plan.json": json.dumps({"steps": steps}),
        }
        return Launch(
            name=name,
            nodes=1,
            ranks_per_node=1,
            program=Program(),
            command=(),
            environment=(),
            script="job.sh",
            files=files,
        )

    return launch


@pytest.fixture
def run_with(launch_with: Callable[..., Launch], tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """A prepared run whose job is ``script``; what it leaves running is killed."""
    folders = []

    def run(script: str = "", name: str = "test", steps: int = 6) -> Path:
        folder = make_folder(
            launch_with(script, name, steps), tmp_path / "outputs", datetime(2026, 1, 2)
        )
        folders.append(folder)
        return folder

    yield run
    for folder in folders:
        launcher = launcher_of(folder)
        if launcher and is_alive(folder):
            os.killpg(launcher.pid, signal.SIGKILL)


@pytest.fixture
def trainer() -> Callable[..., str]:
    """A job of so many steps, with so many seconds between them."""
    return lambda steps=6, pause=0.0: f"STEPS={steps} PAUSE={pause}\n{TRAINER}"


@pytest.fixture
def console() -> Console:
    """A console that is no terminal."""
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Wait until something holds; fail after a minute."""

    def wait(holds: Callable[[], object]) -> None:
        end = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < end, "waited for a minute"
            time.sleep(0.01)

    return wait


@pytest.fixture
def gone() -> Callable[[int], bool]:
    """Whether a process is no more; one that nobody has waited for is no more either."""

    def is_gone(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    return is_gone
