"""Faults that are really made while gpt-tiny trains over two nodes, and what must become of each.

The run must end with the losses of a run without the fault, lose no step before its newest
checkpoint and leave no process, and ``llmtrain why`` must name what happened, and where.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.system import strikes
from tests.system.scene import Scene
from tests.system.strikes import VICTIM, damaged

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
