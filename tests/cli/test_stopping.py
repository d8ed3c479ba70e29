"""A run that goes on: Ctrl-C, ``cancel`` and ``logs --follow`` from another terminal."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import COMMAND, Cli, the_run


@pytest.fixture
def started(stand_in: Path) -> Callable[..., Any]:
    """``llmtrain`` as a program, with a run that goes on until it is stopped."""

    def start(*arguments: str) -> Any:
        slow = os.environ | {"STEPS": "1000", "PAUSE": "0.05"}
        process = subprocess.Popen(
            [COMMAND, *arguments], env=slow, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        end = time.monotonic() + 90
        while not any(Path().glob("outputs/*/metrics.jsonl")):
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.05)
        return process

    return start


def test_ctrl_c(started: Callable[..., Any], cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint, a stop, status 130; ``resume`` goes on from there, once."""
    process = started("run", "recipe=gpt-tiny", "run.name=mine", "run.steps=1000")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=90)
    name = the_run().name
    state = json.loads(cli("status", name, "--json").out)

    assert (process.returncode, out) == (130, b"")
    assert "stopping after a checkpoint; Ctrl-C again kills the run" in err.decode().splitlines()
    assert err.decode().splitlines()[-2:] == [
        f"error: interrupted; the newest checkpoint is step {state['step']}",
        f"  hint: go on with: llmtrain resume {name}",
    ]
    assert (state["status"], state["checkpoint"]) == ("stopped", state["step"])

    monkeypatch.setenv("STEPS", str(state["step"] + 2))
    done = cli("resume", name, "--json")

    assert done.status == 0, done.err
    assert json.loads(done.out)["step"] == state["step"] + 2
    assert cli("resume", name).status == 5


def test_ctrl_c_as_json(started: Callable[..., Any]) -> None:
    """The same as data."""
    process = started("run", "recipe=gpt-tiny", "run.steps=1000", "--json")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=90)
    (error,) = json.loads(out)["errors"]

    assert (process.returncode, error["code"]) == (130, "interrupted")


def test_cancel_from_another_terminal(started: Callable[..., Any], cli: Cli) -> None:
    """Both commands learn how it ended; a run that has ended cannot be cancelled."""
    process = started("run", "recipe=gpt-tiny", "run.steps=1000")
    running = json.loads(cli("status", "--json").out)["runs"]
    twice = cli("resume", "latest")
    done = cli("cancel", "latest", "--json")
    process.communicate(timeout=90)
    again = cli("cancel", "latest")

    assert [state["status"] for state in running] == ["running"]
    assert (twice.status, twice.err.splitlines()[0]) == (
        5,
        f"error: {the_run().name} is running",
    )
    assert (done.status, json.loads(done.out)["status"]) == (0, "cancelled")
    assert process.returncode == 0
    assert (again.status, again.err) == (
        6,
        f"error: {the_run().name} does not run here; it is cancelled\n",
    )


def test_following_the_logs(started: Callable[..., Any], cli: Cli) -> None:
    """Lines as they come, until Ctrl-C, which is the follower's alone."""
    process = started("run", "recipe=gpt-tiny", "run.steps=1000")
    follower = subprocess.Popen(
        [COMMAND, "logs", "latest", "--follow"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert follower.stdout is not None
    first = [follower.stdout.readline().decode() for _ in range(2)]
    follower.send_signal(signal.SIGINT)
    _, err = follower.communicate(timeout=90)

    assert sorted(line.partition(":")[0] for line in first) == ["launcher", "rank-0"]
    assert (follower.returncode, err) == (130, b"")
    assert process.poll() is None

    cli("cancel", "latest")
    process.communicate(timeout=90)
