"""A checkpoint is complete or not there, and one that is not what was written is never taken."""

from __future__ import annotations

import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.trainer.conftest import Lab, Trial

DEEPSPEED = {"name": "megatron-core+deepspeed"}

ENOUGH = 100_000
"""More steps than a test waits for."""


def truncate(checkpoint: Path) -> str:
    """Cut the end off the tensors."""
    path = checkpoint / "__0_0.distcp"
    path.write_bytes(path.read_bytes()[:-1])
    return "__0_0.distcp is not what was written"


def flip(checkpoint: Path) -> str:
    """Change one bit of the tensors."""
    path = checkpoint / "__0_0.distcp"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return "__0_0.distcp is not what was written"


def lose(checkpoint: Path) -> str:
    """Remove the state that is not tensors."""
    (checkpoint / "common.pt").unlink()
    return "common.pt is missing"


def forget(checkpoint: Path) -> str:
    """Cut the list of checksums, so that a file is not looked at."""
    path = checkpoint / "SHA256SUMS"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    return "SHA256SUMS does not name"


HARMS = (truncate, flip, lose, forget)


def test_a_damaged_checkpoint_is_set_aside(lab: Lab) -> None:
    """The one before it is taken, with a warning that names what is wrong, and never pruned."""
    trial = lab.trial(3, checkpoint={"interval": 1, "keep": 2}).train()
    losses, newest = trial.losses(), trial.folder / "checkpoints" / "step-00000003"
    listed = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=newest, check=False)
    assert listed.returncode == 0

    for harm in HARMS:
        wrong = harm(newest)
        trial.train()

        events = trial.lines("events")[-4:]
        assert trial.events()[-3:] == [("resumed", 2), ("checkpoint", 3), ("finished", 3)]
        assert (events[0]["event"], events[0]["name"]) == ("checkpoint_damaged", newest.name)
        assert wrong in events[0]["error"]
        assert trial.losses() == losses
        assert newest.is_dir()
        assert (newest.parent / "step-00000002").is_dir()


def test_a_damaged_checkpoint_of_deepspeed(lab: Lab) -> None:
    """Its files have checksums too: one that is cut or gone, and the checkpoint before is taken."""
    keys: dict[str, Any] = {"backend": DEEPSPEED, "optim": {"lr": 1e-2, "zero": 2}, "gpus": 2}
    trial = lab.trial(3, checkpoint={"interval": 1, "keep": 2}, **keys).train()
    losses, newest = trial.losses(), trial.folder / "checkpoints" / "step-00000003"
    optimizer = newest / "zero_pp_rank_1_mp_rank_00_optim_states.pt"

    for harm in (lambda: optimizer.write_bytes(optimizer.read_bytes()[:-1]), optimizer.unlink):
        harm()
        trial.train()

        assert trial.events()[-3:] == [("resumed", 2), ("checkpoint", 3), ("finished", 3)]
        assert optimizer.name in trial.lines("events")[-4]["error"]
        assert trial.losses() == losses


def test_without_a_whole_checkpoint_nothing_is_trained(lab: Lab) -> None:
    """A run whose checkpoints are damaged, gone or not mounted does not begin again by itself."""
    trial = lab.trial(2).train()
    checkpoints = trial.folder / "checkpoints"

    def unmount() -> None:
        checkpoints.rmdir()
        checkpoints.symlink_to("/not/mounted")

    for harm, says in (
        (lambda: lose(checkpoints / "step-00000002"), "is what was written"),
        (lambda: None, "step-00000002.damaged is damaged, and no other checkpoint is there"),
        (lambda: rmtree(checkpoints / "step-00000002.damaged"), "step-00000002 was written and"),
        (unmount, "is a link to /not/mounted, which is not there"),
    ):
        harm()
        assert trial.statuses(1) == [6]
        assert says in trial.lines("events")[-1]["error"]
        assert len(trial.lines("metrics")) == 2


@pytest.mark.parametrize("backend", [{"name": "megatron-core"}, DEEPSPEED])
def test_kill_during_a_save(
    lab: Lab, shapes: dict[str, dict[str, Any]], backend: dict[str, str]
) -> None:
    """SIGKILL while a checkpoint is written leaves the one before, and the run goes on exactly."""
    model, saves = shapes["gpt"] | {"hidden": 512}, {"interval": 1, "keep": 1}
    large: dict[str, Any] = {"model": model, "checkpoint": saves, "backend": backend}
    trial = lab.trial(ENOUGH, **large)

    kill_while_writing(trial, trial.start())

    kept, partial = trial.checkpoints()
    last, before = int(kept.removeprefix("step-")), trial.losses()
    assert partial == f"step-{last + 1:08d}.partial"
    trial.change(steps=last + 1, **large)
    trial.train()
    assert trial.events()[-3:] == [("resumed", last), *ended(last + 1)]
    assert trial.checkpoints() == [f"step-{last + 1:08d}"]
    assert trial.losses()[last + 1] == before[last + 1]


def test_a_full_disk(lab: Lab) -> None:
    """What cannot be written is said, the run goes on, and the last good state stays.

    The limit on the size of files stands for the disk: the operating system refuses the write.
    """
    trial = lab.trial(ENOUGH, checkpoint={"interval": 5, "keep": 1})
    process = trial.start()
    until(lambda: said(trial, "checkpoint"))

    with small_files(process):
        until(lambda: said(trial, "checkpoint_failed"))
        until(lambda: len(trial.checkpoints()) == 1)
        good = trial.checkpoints()
    until(lambda: trial.checkpoints() not in ([], good))
    with small_files(process):
        trial.ask("stop")
        _, terminal = process.communicate(timeout=180)

    last = trial.lines("events")[-1]
    assert process.returncode == 6
    assert last["error"].startswith("the last checkpoint could not be written: File too large")
    assert "could not be written" in terminal
    assert len([name for name in trial.checkpoints() if name.startswith("step-")]) == 1


def said(trial: Trial, kind: str) -> bool:
    """Whether there was such an event."""
    return kind in [event for event, _ in trial.events()]


def ended(step: int) -> list[tuple[str, int]]:
    """The last events of a run of ``step`` steps."""
    return [("checkpoint", step), ("finished", step)]


def kill_while_writing(trial: Trial, process: subprocess.Popen[str]) -> None:
    """SIGKILL at a moment when one checkpoint is complete and the next is not."""

    def caught() -> bool:
        names = trial.checkpoints()
        if len(names) != 2 or not names[1].endswith(".partial"):
            return False
        process.send_signal(signal.SIGSTOP)
        names = trial.checkpoints()
        if len(names) == 2 and names[1].endswith(".partial"):
            return True
        process.send_signal(signal.SIGCONT)
        return False

    until(caught, pause=0.002)
    process.kill()
    process.communicate()


@contextmanager
def small_files(process: subprocess.Popen[str]) -> Iterator[None]:
    """Refuse a process every file that is larger than what the run writes besides tensors."""
    before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (400_000, before[1]))
    yield
    if process.poll() is None:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)


def until(condition: Callable[[], bool], pause: float = 0.05) -> None:
    """Wait for ``condition``."""
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(pause)
