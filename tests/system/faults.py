"""Faults that are really made while gpt-tiny trains over two nodes, and what must become of each.

The run must end with the losses of a run without the fault, lose no step before its newest
checkpoint and leave no process, and ``llmtrain why`` must name what happened, and where.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.system import strikes
from tests.system.scene import STEPS, Scene, clean
from tests.system.strikes import VICTIM, damaged

if TYPE_CHECKING:
    from tests.system.conftest import Bed

STRUCK = 10
"""Steps before the fault: two checkpoints are there."""
ONE_NODE = ("gpus=2", "batch.global=8")
DEEPSPEED = ("backend=megatron-core+deepspeed", "optim.zero=2")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One case."""

    name: str
    """In words."""
    strike: Callable[[Scene], None]
    """Makes it."""
    kind: str
    """What ``why`` must say of the life that was hit."""
    rank: int | None = None
    """Which rank it must name; None: none in particular."""
    node: int | None = None
    """Of which rank it must name the node."""
    words: tuple[str, ...] = ()
    """Changes to the recipe."""
    shape: tuple[str, ...] = ()
    """Those that change the losses."""
    quick: bool = False
    """It is made in every run of the tests."""
    status: tuple[str, ...] = ("finished",)
    """How the run may end."""
    lives: tuple[int, ...] = (2,)
    """How often its ranks may be started."""
    event: str = ""
    """What must be in events.jsonl; of the victim where it names a rank."""
    small_disk: bool = False
    """Checkpoints go where there is little room."""
    engines: bool = False
    """It is made under DeepSpeed's engine too, which has files of its own."""


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
    """From the fault to the first step after it; None: the run went on, or ended."""
    cause: str
    """What ``why`` said."""


MADE = (
    Fault(
        name="kill -9 of a rank",
        strike=strikes.kill_rank,
        kind="killed",
        rank=VICTIM,
        node=VICTIM,
        quick=True,
        engines=True,
    ),
    Fault(
        name="kill -9 of a rank, one task a rank",
        strike=strikes.kill_rank,
        kind="killed",
        rank=VICTIM,
        node=VICTIM,
        words=("site.launch=srun",),
    ),
    Fault(name="kill -9 of torchrun", strike=strikes.kill_launcher, kind="killed", node=VICTIM),
    Fault(
        name="kill -9 of task.sh",
        strike=strikes.kill_task,
        kind="none",
        lives=(1, 2),
    ),
    Fault(name="kill -9 of srun", strike=strikes.kill_srun, kind="killed"),
    Fault(
        name="a node is down",
        strike=strikes.lose_node,
        kind="node_failure",
        node=VICTIM,
        quick=True,
    ),
    Fault(
        name="a node is down, chain",
        strike=strikes.lose_node,
        kind="node_failure",
        node=VICTIM,
        words=("site.slurm.restart=chain",),
    ),
    Fault(
        name="a node is down, array",
        strike=strikes.lose_node,
        kind="node_failure",
        node=VICTIM,
        words=("site.slurm.restart=array",),
    ),
    Fault(
        name="power loss of a node",
        strike=strikes.power_off,
        kind="node_failure",
        node=VICTIM,
        lives=(2, 3),
    ),
    Fault(
        name="slurmd dead, the ranks live on",
        strike=strikes.stop_daemon,
        kind="node_failure",
        node=VICTIM,
        words=("hang.least_seconds=60",),
    ),
    Fault(
        name="split brain: two lives of one run",
        strike=strikes.split_brain,
        kind="node_failure",
        node=0,
        shape=ONE_NODE,
    ),
    Fault(
        name="network of a node cut",
        strike=strikes.unplug,
        kind="fabric",
        node=VICTIM,
        lives=(2, 3, 4),
    ),
    Fault(name="requeue", strike=strikes.requeue, kind="preemption", engines=True),
    Fault(name="preemption with grace", strike=strikes.preempt, kind="preemption"),
    Fault(
        name="the time limit, told by Slurm",
        strike=strikes.time_limit,
        kind="wall_clock",
        # The lives after it have two minutes too.
        lives=(2, 3, 4),
        words=(
            *("site.time_limit='00:02:00'", "site.slurm.lead_seconds=15"),
            "hang.least_seconds=60",
        ),
    ),
    Fault(
        name="the time limit, chain",
        strike=strikes.near_the_end,
        kind="wall_clock",
        words=("site.slurm.restart=chain",),
        quick=True,
    ),
    Fault(
        name="scancel",
        strike=strikes.cancel,
        kind="cancelled",
        status=("cancelled", "stopped", "lost", "failed"),
        lives=(1,),
    ),
    Fault(
        name="scancel, chain",
        strike=strikes.cancel,
        kind="cancelled",
        words=("site.slurm.restart=chain",),
        status=("cancelled", "stopped", "lost", "failed"),
        lives=(1,),
    ),
    Fault(
        name="a rank hangs",
        strike=strikes.hang,
        kind="hang",
        rank=VICTIM,
        node=VICTIM,
        words=("site.launch=srun",),
        event="hang",
        quick=True,
    ),
    Fault(
        name="a slow rank",
        strike=strikes.slow_down,
        kind="none",
        lives=(1,),
        words=("straggler.window=5", "straggler.factor=2"),
        event="straggler",
        quick=True,
    ),
    Fault(
        name="disk full during a save",
        strike=strikes.fill_disk,
        kind="none",
        lives=(1,),
        event="checkpoint_failed",
        small_disk=True,
        engines=True,
    ),
    Fault(
        name="newest checkpoint truncated",
        strike=damaged(strikes.truncate),
        kind="none",
        event="checkpoint_damaged",
        engines=True,
    ),
    Fault(
        name="newest checkpoint, one bit flipped",
        strike=damaged(strikes.flip_bit),
        kind="none",
        event="checkpoint_damaged",
        engines=True,
    ),
    Fault(
        name="newest checkpoint, a file removed",
        strike=damaged(strikes.remove_file),
        kind="none",
        event="checkpoint_damaged",
        engines=True,
    ),
    Fault(
        name="kill -9 at random moments of five saves",
        strike=strikes.kill_while_saving,
        kind="killed",
        rank=0,
        lives=(1 + strikes.KILLS,),
        # None of the saves may succeed: that is what is made here.
        words=(f"site.slurm.max_restarts={strikes.KILLS}",),
        engines=True,
    ),
    Fault(
        name="two resumes at once",
        strike=strikes.resume_twice,
        kind="none",
        shape=ONE_NODE,
    ),
)
FAULTS = MADE + tuple(
    replace(fault, name=f"{fault.name}, DeepSpeed", shape=DEEPSPEED, quick=False)
    for fault in MADE
    if fault.engines
)


def play(bed: Bed, fault: Fault, expected: dict[int, float]) -> Outcome:
    """Make one fault, and compare the run with the one without it."""
    if fault.small_disk:
        small = Path(bed.environment["BED"]) / "small"
        for before in small.iterdir():
            shutil.rmtree(before)
        (bed.folder / "outputs").symlink_to(small)
    scene = Scene.begin(bed, clean(fault.name), *fault.words, *fault.shape)
    scene.until_step(1)
    node = scene.node(fault.node) if fault.node is not None else None
    struck = scene.node(0 if fault.shape == ONE_NODE else VICTIM)
    scene.until_step(STRUCK)
    try:
        begun = time.monotonic()
        fault.strike(scene)
        if fault.status == ("finished",) and 1 not in fault.lives:
            scene.resumed()
        seconds = time.monotonic() - begun
        if fault.status == ("finished",):
            scene.until(lambda: bool(scene.events("finished")), "the end")
        state = bed.wait(scene.folder)
        return judge(scene, fault, expected, str(state["status"]), node, seconds)
    finally:
        mend(bed, struck)


def mend(bed: Bed, node: str) -> None:
    """Have all four nodes again."""
    number = node.removeprefix("node")
    bed.run(bed.scripts / "node.sh", "plug", number)
    pid = Path(bed.environment["BED"]) / "spool" / f"{node}.pid"
    alive = Path(f"/proc/{_pid(bed, node)}").exists() and _daemon_lives(bed, number, pid)
    if not alive:
        bed.run(bed.scripts / "node.sh", "kill", number, check=False)
        bed.run(bed.scripts / "node.sh", "start", number)
    bed.run("scancel", "--user=root")

    def ready() -> bool:
        bed.run("scontrol", "update", "nodename=node[1-4]", "state=resume", check=False)
        return len(bed.run("sinfo", "-h", "-N", "-p", "gpu", "-t", "idle").split("\n")) == 5

    bed.until(ready, "four nodes again", 90)


def _pid(bed: Bed, node: str) -> str:
    return (Path(bed.environment["BED"]) / "pids" / node).read_text().split()[0]


def _daemon_lives(bed: Bed, number: str, pid: Path) -> bool:
    words = ("exec", number, "bash", "-c", f"kill -0 $(cat {pid})")
    return bed.start(bed.scripts / "node.sh", *words).returncode == 0


def judge(
    scene: Scene,
    fault: Fault,
    expected: dict[int, float],
    status: str,
    node: str | None,
    seconds: float,
) -> Outcome:
    """Everything that must hold when it is over."""
    losses, lives = scene.losses(), len(scene.events("launched"))
    cause = scene.why(1)
    different = [step for step, seen in losses.items() if set(seen) != {expected[step]}]
    held = {
        f"it is {status}": status in fault.status,
        f"{lives} lives": lives in fault.lives,
        f"steps {sorted(losses)}": len(losses) == STEPS or "finished" not in fault.status,
        f"losses of steps {different}": not different,
        f"{scene.lost_steps()} steps lost": not scene.lost_steps(),
        f"{scene.turns()} turns in {lives} lives": scene.turns() < lives,
        f"no event {fault.event}": not fault.event or bool(told(scene, fault)),
        **{f"left: {left}": False for left in scene.orphans()},
        f"why says {cause['class']}": cause["class"] == fault.kind,
        f"why says rank {cause['rank']}": fault.rank in (None, cause["rank"]),
        f"why says {cause['host']}, not {node}": node in (None, cause["host"]),
    }
    named = [cause[key] for key in ("class", "rank", "host") if cause[key] is not None]
    named += [f"{fault.event}: {told(scene, fault)}"] if fault.event else []
    return Outcome(
        fault=fault,
        wrong=tuple(says for says, holds in held.items() if not holds),
        lives=lives,
        again=sum(len(seen) - 1 for seen in losses.values()),
        seconds=seconds if fault.status == ("finished",) and lives > 1 else None,
        cause=", ".join(map(str, named)),
    )


def told(scene: Scene, fault: Fault) -> str:
    """What the event says; nothing where it names another rank than the victim."""
    for event in scene.events(fault.event):
        if event.get("rank", VICTIM) == VICTIM:
            return str(event.get("error") or f"rank {event['rank']} on {event['node']}")
    return ""


def without_a_fault(bed: Bed, shape: tuple[str, ...] = ()) -> dict[int, float]:
    """Loss of every step of the run that nothing happens to."""
    scene = Scene.begin(bed, clean("-".join(("undisturbed", *shape))), *shape)
    assert bed.wait(scene.folder)["status"] == "finished", scene.said()
    return {step: seen[0] for step, seen in scene.losses().items()}
