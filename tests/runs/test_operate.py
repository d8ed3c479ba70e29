"""The verbs on a local run: start and follow, interrupt, cancel, go on."""

import io
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from rich.console import Console

from llmtrain.config.errors import Interrupted, LaunchError, RunError
from llmtrain.runs import operate
from llmtrain.runs.events import json_lines, note
from llmtrain.runs.follow import follow
from llmtrain.runs.operate import cancel, resume, run_here
from llmtrain.runs.process import ask, is_alive, start
from llmtrain.runs.progress import losses
from llmtrain.runs.state import read_state

RunWith = Callable[..., Path]
Trainer = Callable[..., str]
Until = Callable[[Callable[[], object]], None]
Gone = Callable[[int], bool]

STUBBORN = """\
echo '{"event": "started", "step": 0}' >>events.jsonl
trap '' TERM INT
sleep 60 &
echo $! >child
wait
"""
"""A job that does not stop."""


def said(console: Console) -> list[str]:
    """Its lines."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def events(folder: Path) -> list[tuple[Any, Any]]:
    """What happened, and at which step."""
    return [(line["event"], line["step"]) for line in json_lines(folder / "events.jsonl")]


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch, until: Until) -> Callable[..., None]:
    """Ctrl-C while the run is followed, so many times, each when something holds."""

    def interrupts(*when: Callable[[], object]) -> None:
        left = list(when)

        def followed(*arguments: Any) -> Any:
            if left:
                until(left.pop(0))
                raise KeyboardInterrupt
            return follow(*arguments)

        monkeypatch.setattr(operate, "follow", followed)

    return interrupts


def test_a_run_to_its_end(run_with: RunWith, trainer: Trainer, console: Console) -> None:
    """Its last state is the answer."""
    folder = run_with(trainer(steps=3))
    state = run_here(folder, console)

    assert state == read_state(folder)
    assert (state.status, state.step, state.loss, state.checkpoint) == ("finished", 3, 6.5, 3)
    assert events(folder) == [
        *(("launched", None), ("started", 0), ("checkpoint", 3), ("finished", 3))
    ]


def test_a_run_that_fails(run_with: RunWith, console: Console) -> None:
    """The error is the one that was written first, with the place of the logs."""
    folder = run_with('echo \'{"event": "failed", "error": "no memory"}\' >>events.jsonl; exit 7')
    with pytest.raises(RunError) as failed:
        run_here(folder, console)
    (problem,) = failed.value.problems

    assert problem.message == "test-20260102-000000: no memory"
    assert problem.hint == (f"llmtrain logs test-20260102-000000; all output: {folder / 'logs'}")


@pytest.mark.parametrize("status", [0, 1, 139])
def test_a_run_that_ends_without_a_word(run_with: RunWith, console: Console, status: int) -> None:
    """Also with status 0: nobody said that it had finished."""
    with pytest.raises(RunError, match=f"ended with status {status} and said nothing"):
        run_here(run_with(f"exit {status}"), console)


def test_a_failure_after_the_last_word(
    run_with: RunWith, trainer: Trainer, console: Console
) -> None:
    """A job whose status is not 0 has failed, whatever it wrote."""
    with pytest.raises(RunError, match="status 5"):
        run_here(run_with(f"({trainer(steps=1)})\nexit 5"), console)


FAILS = """\
echo life >>lives
mkdir -p checkpoints/step-SAVED
[[ $(wc -l <lives) -lt 3 ]] && exit 3
echo '{"event": "finished", "step": 2}' >>events.jsonl
"""
"""A job that makes a checkpoint and fails in its first two lives."""


@pytest.mark.parametrize(
    ("script", "outcome", "lives"),
    [
        (FAILS.replace("SAVED", "$(wc -l <lives)"), "finished", 3),
        (FAILS.replace("SAVED", "1"), "status 3", 2),
        ("echo life >>lives; exit 3", "status 3", 1),
    ],
)
def test_a_run_goes_on_while_it_gets_further(
    run_with: RunWith, console: Console, script: str, outcome: str, lives: int
) -> None:
    """By itself, after each failure; a life without a new checkpoint is the last."""
    folder = run_with(script)
    (folder / "lives").touch()
    if outcome == "finished":
        assert run_here(folder, console).status == outcome
    else:
        with pytest.raises(RunError, match=outcome):
            run_here(folder, console)

    assert len((folder / "lives").read_text().split()) == lives


@pytest.mark.parametrize("text", ["{", "{}"])
def test_a_folder_without_a_launch(run_with: RunWith, console: Console, text: str) -> None:
    """It cannot be started."""
    folder = run_with()
    (folder / "launch.json").write_text(text)
    with pytest.raises(LaunchError, match="holds no launch"):
        run_here(folder, console)


def test_one_interrupt(
    run_with: RunWith,
    trainer: Trainer,
    console: Console,
    interrupted: Callable[..., None],
) -> None:
    """The run is asked to stop, saves, and the answer says how to go on."""
    folder = run_with(trainer(steps=500, pause=0.02), steps=500)
    interrupted(lambda: read_state(folder).step > 2)
    with pytest.raises(Interrupted) as stopped:
        run_here(folder, console)
    state = read_state(folder)
    (problem,) = stopped.value.problems

    assert (state.status, state.step) == ("stopped", state.checkpoint)
    assert problem.message == f"interrupted; the newest checkpoint is step {state.step}"
    assert problem.hint == "go on with: llmtrain resume test-20260102-000000"
    assert said(console)[0] == "stopping after a checkpoint; Ctrl-C again kills the run"
    assert not is_alive(folder)


def test_two_interrupts(
    run_with: RunWith,
    console: Console,
    interrupted: Callable[..., None],
    until: Until,
    gone: Gone,
) -> None:
    """A run that does not stop is killed with all its children, and counts as cancelled."""
    folder = run_with(STUBBORN)
    child = folder / "child"
    interrupted(lambda: child.exists() and child.read_text().strip(), lambda: True)
    with pytest.raises(Interrupted) as killed:
        run_here(folder, console)
    (problem,) = killed.value.problems

    assert problem.message == "interrupted before the first checkpoint"
    assert problem.hint == "begin again with: llmtrain resume test-20260102-000000"
    until(lambda: gone(int(child.read_text())))
    assert read_state(folder).status == "cancelled"
    assert not (folder / "control" / "stop").exists()


def test_an_interrupt_after_the_last_step(
    run_with: RunWith, trainer: Trainer, console: Console, interrupted: Callable[..., None]
) -> None:
    """There is nothing to go on with."""
    folder = run_with(trainer(steps=1))
    interrupted(lambda: read_state(folder).status == "finished")
    with pytest.raises(Interrupted) as late:
        run_here(folder, console)
    (problem,) = late.value.problems

    assert (problem.message, problem.hint) == ("interrupted when all steps were done", "")


def test_resume_goes_on(
    run_with: RunWith, trainer: Trainer, console: Console, interrupted: Callable[..., None]
) -> None:
    """In the same folder, from the newest checkpoint to the last step."""
    folder = run_with(trainer(steps=40, pause=0.05), steps=40)
    interrupted(lambda: read_state(folder).step >= 2)
    with pytest.raises(Interrupted):
        run_here(folder, console)
    stopped = read_state(folder).step
    state = resume(folder, console)

    assert (state.status, state.step) == ("finished", 40)
    assert [step for step, _ in losses(folder)] == list(range(1, 41))
    assert events(folder) == [
        *(("launched", None), ("started", 0), ("checkpoint", stopped), ("stopped", stopped)),
        *(("launched", None), ("resumed", stopped), ("checkpoint", 40), ("finished", 40)),
    ]


def test_resume_refuses_what_is_done(run_with: RunWith, trainer: Trainer, console: Console) -> None:
    """A finished run has nothing left to do, and is left alone."""
    folder = run_with(trainer(steps=6))
    run_here(folder, console)
    before = events(folder)
    with pytest.raises(LaunchError, match="test-20260102-000000 has finished all 6 steps"):
        resume(folder, console)

    assert events(folder) == before


def test_resume_refuses_what_runs(run_with: RunWith, trainer: Trainer, console: Console) -> None:
    """And says how to look on."""
    folder = run_with(trainer(steps=100, pause=0.05))
    process = start(folder, "job.sh")
    with pytest.raises(LaunchError) as refused:
        resume(folder, console)
    (problem,) = refused.value.problems

    assert problem.message == "test-20260102-000000 is running"
    assert problem.hint == "llmtrain logs test-20260102-000000 --follow"

    ask(folder, "stop")
    process.wait()


def test_cancel(run_with: RunWith, trainer: Trainer, console: Console, until: Until) -> None:
    """The run saves and ends; who follows it elsewhere learns it too."""
    folder = run_with(trainer(steps=500, pause=0.05), steps=500)
    states: list[Any] = []
    follower = Thread(target=lambda: states.append(run_here(folder, console)))
    follower.start()
    until(lambda: read_state(folder).step > 1)
    state = cancel(folder, console)
    follower.join()

    assert (state.status, state.step) == ("cancelled", state.checkpoint)
    assert states[0].status in ("stopped", "cancelled")
    assert "waiting for the last checkpoint" in said(console)


def test_cancel_by_force(run_with: RunWith, console: Console, until: Until, gone: Gone) -> None:
    """A run that does not listen is killed when patience is over."""
    folder = run_with(STUBBORN)
    child = folder / "child"
    process = start(folder, "job.sh")
    until(lambda: child.exists() and child.read_text().strip())
    state = cancel(folder, console, patience=0.2)
    process.wait()

    assert state.status == "cancelled"
    until(lambda: gone(int(child.read_text())))


@pytest.mark.parametrize("ended", ["finished", "stopped", "failed"])
def test_cancel_refuses_what_does_not_run(run_with: RunWith, console: Console, ended: str) -> None:
    """And says what became of it."""
    folder = run_with()
    note(folder, "started")
    note(folder, ended)
    with pytest.raises(RunError, match=f"test-20260102-000000 does not run here; it is {ended}"):
        cancel(folder, console)
