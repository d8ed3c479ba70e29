"""A run that is asked to stop saves first, whoever is asked and however often."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from tests.trainer.conftest import Lab, Trial

ENOUGH = 100_000
"""More steps than a test waits for."""


def test_sigterm_to_torchrun_saves_and_the_run_resumes(lab: Lab) -> None:
    """SIGTERM to the launcher leaves a checkpoint of the last step, from which the run goes on."""
    trial = lab.trial(ENOUGH, gpus=2, parallel={"tp": 2})
    process = started(trial)

    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=180)

    stopped = trial.events()[-1][1]
    assert trial.events()[-2:] == [("checkpoint", stopped), ("stopped", stopped)]
    assert trial.checkpoints() == [f"step-{stopped:08d}"]
    trial.ask("stop")
    trial.train()
    assert trial.events()[-3] == ("resumed", stopped)
    assert trial.lines("metrics")[-1]["step"] == stopped + 1


def test_one_rank_that_is_asked_stops_all(lab: Lab) -> None:
    """SIGUSR1, several times, to the rank that does not lead: both save, and all ends well."""
    trial = lab.trial(ENOUGH, gpus=2, parallel={"tp": 2})
    process = started(trial)
    follower = rank_process(process, 1)

    for _ in range(3):
        follower.send_signal(signal.SIGUSR1)
        time.sleep(0.05)
    _, terminal = process.communicate(timeout=180)

    assert process.returncode == 0, terminal
    assert trial.events()[-1][0] == "stopped"


def test_ctrl_c_in_a_terminal(lab: Lab) -> None:
    """Under torchrun the terminal shows the progress bar, no warning, and Ctrl-C saves."""
    trial = lab.trial(ENOUGH, gpus=2, parallel={"tp": 2})
    pid, terminal = pty.fork()
    if pid == 0:
        command = trial.command()
        os.execve(command[0], command, trial.environment())
    shown = read_until(terminal, lambda text: "tokens/s" in text and "3/100000" in text)

    os.write(terminal, b"\x03")
    shown += read_until(terminal, lambda text: False)
    os.waitpid(pid, 0)

    until(lambda: trial.events()[-1][0] == "stopped")
    assert "tiny" in shown
    assert "━" in shown
    assert "Warning" not in shown


def started(trial: Trial) -> subprocess.Popen[str]:
    """Launch and wait for the third step."""
    process = trial.start()
    until(lambda: len(trial.lines("metrics")) >= 3 or process.poll() is not None)
    return process


def rank_process(launcher: subprocess.Popen[str], rank: int) -> psutil.Process:
    """The process of one rank below torchrun."""
    children = psutil.Process(launcher.pid).children(recursive=True)
    return next(child for child in children if child.environ().get("RANK") == str(rank))


def until(condition: Callable[[], bool], seconds: float = 180) -> None:
    """Wait for ``condition``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def read_until(terminal: int, enough: Callable[[str], bool]) -> str:
    """What the terminal shows, up to ``enough`` or its end."""
    shown = b""
    while not enough(shown.decode(errors="replace")):
        try:
            shown += os.read(terminal, 4096)
        except OSError:
            break
    return shown.decode(errors="replace")
