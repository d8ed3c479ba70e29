"""The quick start in earnest: real training on two ranks, a real Ctrl-C, the resume."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import COMMAND

STEPS = 12
RECIPE = ("recipe=gpt-tiny", f"run.steps={STEPS}", "checkpoint.interval=3")

KEYS = {
    *("step", "loss", "grad_norm", "learning_rate"),
    *("step_seconds", "tokens_per_second", "memory_bytes"),
    *("stage_memory_bytes", "compute_seconds"),
}


@dataclass(frozen=True)
class Runs:
    """Runs in one place, each begun by the command."""

    root: Path

    def command(self, *arguments: str) -> "subprocess.Popen[str]":
        """``llmtrain`` as a program."""
        known = {name: value for name, value in os.environ.items() if name != "LLMTRAIN_PYTHON"}
        return subprocess.Popen(
            [COMMAND, *arguments],
            cwd=self.root,
            env=known | {"LLMTRAIN_RUNS": str(self.root), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def done(self, *arguments: str) -> str:
        """What it prints."""
        process = self.command(*arguments)
        out, err = process.communicate(timeout=100)
        assert process.returncode == 0, out + err
        return out

    def folder(self, name: str) -> Path:
        """The only run whose name begins so."""
        (found,) = self.root.glob(f"{name}-*")
        return found


def rows(folder: Path) -> list[dict[str, Any]]:
    """What the run measured, as far as it is whole."""
    try:
        lines = (folder / "metrics.jsonl").read_text().split("\n")[:-1]
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]


def losses(folder: Path) -> dict[int, float]:
    """Loss by step; the last one counts."""
    return {row["step"]: row["loss"] for row in rows(folder)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """A run of twelve steps that nothing disturbs; its folder is ``whole-…``."""
    found = Runs(tmp_path_factory.mktemp("runs"))
    found.done("run", *RECIPE, "run.name=whole", "--json")
    yield found


def test_the_folder_of_a_run(runs: Runs) -> None:
    """Every file of the design, and no other."""
    folder = runs.folder("whole")
    node = socket.gethostname()

    assert {path.name for path in folder.iterdir()} == {
        *("recipe.yaml", "plan.json", "launch.json", "job.sh", "env.json", "provenance.json"),
        *("SHA256SUMS", "logs", "metrics.jsonl", "events.jsonl", "checkpoints", "control"),
    }
    assert {str(path.relative_to(folder)) for path in folder.glob("logs/**/*.log")} == {
        *("logs/launcher.log", f"logs/{node}/rank-0.log", f"logs/{node}/rank-1.log"),
    }
    assert list(folder.glob("logs/tensorboard/events.out.*"))
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)


def test_the_metrics_of_a_run(runs: Runs) -> None:
    """One row a step, from 1, with exactly the keys of the design, and a loss that falls."""
    found = rows(runs.folder("whole"))

    assert [row["step"] for row in found] == list(range(1, STEPS + 1))
    assert {frozenset(row) for row in found} == {frozenset(KEYS)}
    assert 5.0 < found[0]["loss"] < 6.0
    assert found[-1]["loss"] < found[0]["loss"]


def test_the_state_of_a_run(runs: Runs) -> None:
    """What ``status`` and ``logs`` say of it."""
    folder = runs.folder("whole")
    state = json.loads(runs.done("status", "whole", "--json"))
    last = rows(folder)[-1]
    log = runs.done("logs", "whole", "--rank", "0")

    known = {
        "name": folder.name,
        "path": str(folder),
        "status": "finished",
        "step": STEPS,
        "steps": STEPS,
        "loss": last["loss"],
        "tokens_per_second": last["tokens_per_second"],
        "step_seconds": last["step_seconds"],
        "checkpoint": STEPS,
        "error": None,
        "memory_bytes": last["memory_bytes"],
    }
    assert {key: value for key, value in state.items() if key in known} == known
    assert log == next(folder.glob("logs/*/rank-0.log")).read_text()


def until(holds: Callable[[], object], process: "subprocess.Popen[str]") -> None:
    """Wait for something while the command goes on."""
    end = time.monotonic() + 90
    while not holds():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def test_an_interrupted_run_goes_on_exactly(runs: Runs) -> None:
    """Ctrl-C saves, ``resume`` trains the rest, and each loss is that of the unbroken run."""
    process = runs.command("run", *RECIPE, "run.name=broken")
    until(lambda: list(runs.root.glob("broken-*")), process)
    folder = runs.folder("broken")
    until(lambda: rows(folder), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    stopped = len(rows(folder))

    assert (process.returncode, out) == (130, "")
    assert 1 <= stopped < STEPS
    assert err.splitlines()[-2:] == [
        f"error: interrupted; the newest checkpoint is step {stopped}",
        f"  hint: go on with: llmtrain resume {folder.name}",
    ]

    runs.done("resume", "broken")

    assert losses(folder) == losses(runs.folder("whole"))
    assert json.loads(runs.done("status", "broken", "--json"))["status"] == "finished"


def test_the_script_alone_runs_again(runs: Runs, tmp_path: Path) -> None:
    """``bash job.sh`` in a copy of the prepared files trains the same."""
    whole = runs.folder("whole")
    folder = tmp_path / "copy"
    folder.mkdir()
    for line in (whole / "SHA256SUMS").read_text().splitlines():
        name = line.split("  ", 1)[1]
        (folder / name).write_bytes((whole / name).read_bytes())
    done = subprocess.run(["bash", "job.sh"], cwd=folder, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert losses(folder) == losses(whole)
