"""Faults that are really made while gpt-tiny trains over two nodes, and what must become of each.

Each case says how it is made and what must be seen: that the run ends with the losses of a run
without it, that no step before its newest checkpoint was lost, that no process is left, and that
``llmtrain why`` names what happened, and where.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tests.system.scene import STEPS, Scene, clean

if TYPE_CHECKING:
    from tests.system.conftest import Bed

STRUCK = 10
"""Two checkpoints are there when the fault is made."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One case."""

    name: str
    """In words."""
    strike: Callable[[Scene], None]
    """Makes it; the run has trained :data:`STRUCK` steps."""
    kind: str
    """What ``why`` must say of the life that was hit."""
    rank: int | None = None
    """Which rank it must name; None: none in particular."""
    node: bool = False
    """It must name that rank's node."""
    words: tuple[str, ...] = ()
    """Changes to the recipe."""
    quick: bool = False
    """It is made in every run of the tests."""
    status: Literal["finished", "cancelled"] = "finished"
    """How the run must end."""
    lives: int = 2
    """How often its ranks must have been started."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a run."""

    fault: Fault
    """What was done to it."""
    wrong: tuple[str, ...]
    """What should have been otherwise."""
    lives: int
    """How often its ranks were started."""
    again: int
    """Steps that were trained more than once."""
    seconds: float | None
    """From the fault to the first step after it."""
    cause: str
    """What ``why`` said."""


def kill_rank(scene: Scene) -> None:
    """SIGKILL to rank 3."""
    scene.rank(3).kill()


def kill_launcher(scene: Scene) -> None:
    """SIGKILL to the torchrun of the second node."""
    node = scene.node(3)
    for process in scene.processes("torch.distributed.run"):
        if process.environ()["SLURMD_NODENAME"] == node:
            process.kill()


def kill_task(scene: Scene) -> None:
    """SIGKILL to task.sh, above the rank."""
    parent = scene.rank(3).parent()
    while parent is not None and "task.sh" not in " ".join(parent.cmdline()):
        parent = parent.parent()
    assert parent is not None
    for process in (parent.parent(), parent):
        if process is not None and "task.sh" in " ".join(process.cmdline()):
            process.kill()


def kill_srun(scene: Scene) -> None:
    """SIGKILL to srun."""
    for process in scene.batch_script().children(recursive=True):
        with suppress(Exception):
            if process.name() == "srun":
                process.kill()


def lose_node(scene: Scene) -> None:
    """Slurm is told that the node of rank 3 is down."""
    node = scene.node(3)
    scene.bed.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")


def power_off(scene: Scene) -> None:
    """The node of rank 3 is gone, with everything on it."""
    scene.node_script("kill", scene.node(3))


def stop_daemon(scene: Scene) -> None:
    """slurmd of the node of rank 3 is dead, its ranks live on."""
    scene.node_script("stop-daemon", scene.node(3))


def unplug(scene: Scene) -> None:
    """The network of the node of rank 3 is cut; the file system stays."""
    scene.node_script("unplug", scene.node(3))


def requeue(scene: Scene) -> None:
    """Somebody requeues the job."""
    scene.bed.run("scontrol", "requeue", scene.job())


def near_the_end(scene: Scene) -> None:
    """What Slurm sends before the time limit, to the batch script alone."""
    scene.batch_script().send_signal(signal.SIGUSR1)


def cancel(scene: Scene) -> None:
    """scancel."""
    scene.bed.run("scancel", scene.job())


FAULTS = (
    Fault(
        name="kill -9 of a rank, torchrun",
        strike=kill_rank,
        kind="killed",
        rank=3,
        node=True,
        quick=True,
    ),
    Fault(
        name="kill -9 of a rank, srun",
        strike=kill_rank,
        kind="killed",
        rank=3,
        node=True,
        words=("site.launch=srun",),
    ),
    Fault(name="kill -9 of torchrun", strike=kill_launcher, kind="killed"),
    Fault(name="kill -9 of a task", strike=kill_task, kind="killed"),
    Fault(name="kill -9 of srun", strike=kill_srun, kind="killed"),
    Fault(
        name="a node is down", strike=lose_node, kind="node_failure", rank=3, node=True, quick=True
    ),
    Fault(name="power loss of a node", strike=power_off, kind="node_failure", rank=3, node=True),
    Fault(name="requeue", strike=requeue, kind="preemption"),
    Fault(
        name="the time limit, requeue",
        strike=near_the_end,
        kind="wall_clock",
    ),
    Fault(
        name="the time limit, chain",
        strike=near_the_end,
        kind="wall_clock",
        words=("site.slurm.restart=chain",),
    ),
    Fault(name="scancel", strike=cancel, kind="cancelled", status="cancelled", lives=1),
)


def play(bed: Bed, fault: Fault, expected: dict[int, float]) -> Outcome:
    """Make one fault, and compare the run with the one without it."""
    scene = Scene.begin(bed, clean(fault.name), *fault.words)
    scene.until_step(STRUCK)
    node = scene.node(fault.rank) if fault.rank is not None else None
    begun, rows = time.monotonic(), len(scene.lines("metrics"))
    fault.strike(scene)
    if fault.status == "finished":
        scene.until(lambda: len(scene.events("resumed")) >= 1, "a restart")
        scene.until(lambda: len(scene.lines("metrics")) > rows, "a step")
    seconds = time.monotonic() - begun
    state = bed.wait(scene.folder, 240)
    return judge(scene, fault, expected, state["status"], node, seconds)


def judge(
    scene: Scene,
    fault: Fault,
    expected: dict[int, float],
    status: str,
    node: str | None,
    seconds: float,
) -> Outcome:
    """Everything that must hold when it is over."""
    losses, launched = scene.losses(), len(scene.events("launched"))
    cause = scene.why(1)
    asked: dict[str, object] = {"class": fault.kind}
    asked |= {"rank": fault.rank} if fault.rank is not None and fault.kind != "node_failure" else {}
    asked |= {"host": node} if fault.node else {}
    wrong = [f"it is {status}"] if status != fault.status else []
    wrong += [f"{launched} lives"] if launched != fault.lives else []
    if fault.status == "finished" and sorted(losses) != list(range(1, STEPS + 1)):
        wrong.append(f"steps {sorted(losses)}")
    different = [step for step, seen in losses.items() if set(seen) != {expected[step]}]
    wrong += [f"losses of steps {different}"] if different else []
    wrong += [f"{scene.lost_steps()} steps lost"] if scene.lost_steps() else []
    wrong += [f"left: {left}" for left in scene.orphans()]
    wrong += [
        f"why says {key} {cause[key]}, not {value}"
        for key, value in asked.items()
        if cause[key] != value
    ]
    return Outcome(
        fault=fault,
        wrong=tuple(wrong),
        lives=launched,
        again=sum(len(seen) - 1 for seen in losses.values()),
        seconds=seconds if fault.status == "finished" else None,
        cause=", ".join(
            str(cause[key]) for key in ("class", "rank", "host") if cause[key] is not None
        ),
    )


def without_a_fault(bed: Bed) -> dict[int, float]:
    """Loss of every step of the run that nothing happens to."""
    scene = Scene.begin(bed, "undisturbed")
    assert bed.wait(scene.folder)["status"] == "finished", scene.said()
    return {step: seen[0] for step, seen in scene.losses().items()}
