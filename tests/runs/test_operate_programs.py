"""The verbs on a local run of a checkout's program, which reads no requests, writes no events."""

import json
import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest
from rich.console import Console

from llmtrain.config.errors import RunError
from llmtrain.launchers.shell import package_text
from llmtrain.runs.operate import cancel, run_here
from llmtrain.runs.process import ask, start
from llmtrain.runs.state import read_state

RunWith = Callable[..., Path]
Until = Callable[[Callable[[], object]], None]

PROGRAM = """\
trap 'echo launcher >>said' TERM
rank() {
    (trap 'echo worker >>said' TERM; for _ in {1..9}; do sleep 0.1; done) &
    trap 'echo saved >>said; exit' TERM
    touch ready
    for step in {1..600}; do
        sleep 0.1
        ((step > SILENT)) && echo "iteration $step/ $STEPS | lm loss: 2.5 |"
        [[ $step != "$STEPS" ]] || exit 0
    done
}
export -f rank
LOCAL_RANK=0 bash -c rank &
wait $!
"""
"""A launcher with one rank, which saves on SIGTERM and has a process of its own."""


def job_of_a_program(steps: int = 600, silent: int = 0) -> str:
    """A job like that of Megatron-LM; its first ``silent`` steps, a tenth of a second each, it
    does not tell of."""
    names = ("life.sh", "life-here.sh", "requests.sh", "ranks-torchrun.sh", "requests-here.sh")
    functions = "\n".join(map(package_text, names)).replace("sleep 5", "sleep 0.1")
    return (
        f"set -euo pipefail\n{functions}\nstep_log=logs/launcher.log step_line='iteration .*/'\n"
        f"export STEPS={steps} SILENT={silent}\nhold_run\nexec bash -c {shlex.quote(PROGRAM)}\n"
    )


def of_the_users(folder: Path) -> None:
    """The run's program is not llmtrain's trainer."""
    words = {"script": "job.sh", "command": ["python", "pretrain_gpt.py"]}
    (folder / "launch.json").write_text(json.dumps(words))


@pytest.mark.parametrize(("status", "outcome"), [(0, "finished"), (3, "failed")])
def test_the_end_of_a_program_that_writes_no_events(
    run_with: RunWith, console: Console, status: int, outcome: str
) -> None:
    """Its status says it."""
    folder = run_with(f"exit {status}")
    of_the_users(folder)
    with suppress(RunError):
        run_here(folder, console)

    assert read_state(folder).status == outcome


def test_a_program_that_knows_no_requests_is_told_by_sigterm(
    run_with: RunWith, console: Console, until: Until
) -> None:
    """Its ranks are, once, which save; neither their launcher nor their own processes."""
    folder = run_with(job_of_a_program())
    of_the_users(folder)
    process = start(folder, "job.sh")
    until(lambda: (folder / "ready").exists())
    state = cancel(folder, console)

    assert state.status == "cancelled"
    assert process.wait() == 0
    assert (folder / "said").read_text().split() == ["saved"]


@pytest.mark.parametrize("silent", [0, 10])
def test_control_stop_ends_a_program_of_the_users(
    run_with: RunWith, console: Console, until: Until, silent: int
) -> None:
    """Whoever leaves the file; after the first step of this life at the earliest."""
    folder = run_with(job_of_a_program(silent=silent), steps=600)
    of_the_users(folder)
    log = folder / "logs" / "launcher.log"
    log.write_text("llmtrain: life 0 begins\niteration 1/ 600 | of another life |\n")

    def touch() -> None:
        until(lambda: (folder / "ready").exists())
        ask(folder, "stop")

    Thread(target=touch).start()
    state = run_here(folder, console)

    assert (state.status, state.step > silent) == ("stopped", True)
    assert (folder / "said").read_text().split() == ["saved"]
    assert "asking the ranks for a checkpoint" in log.read_text()


def test_control_save_of_a_program_of_the_users_is_answered(
    run_with: RunWith, console: Console, until: Until
) -> None:
    """It goes on to its end; the file is gone, and a line in the launcher's log says why."""
    folder = run_with(job_of_a_program(steps=12), steps=12)
    of_the_users(folder)

    def touch() -> None:
        until(lambda: (folder / "ready").exists())
        ask(folder, "save")

    Thread(target=touch).start()

    assert run_here(folder, console).status == "finished"
    assert not (folder / "control" / "save").exists()
    assert (folder / "logs" / "launcher.log").read_text().count("control/save is left out") == 1


def test_a_run_with_all_its_steps_has_finished_whatever_was_asked(
    run_with: RunWith, console: Console
) -> None:
    """Its program does not look into control/."""
    folder = run_with("touch control/stop; echo 'iteration 6/ 6 | lm loss: 2.5 |'", steps=6)
    of_the_users(folder)

    assert run_here(folder, console).status == "finished"
