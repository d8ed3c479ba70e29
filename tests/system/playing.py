"""Make a fault on a test-bed, and judge what became of the run."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.system.faults import ONE_NODE, Fault
from tests.system.scene import STEPS, Scene, clean
from tests.system.strikes import VICTIM

if TYPE_CHECKING:
    from tests.system.conftest import Bed

STRUCK = 10
"""Steps before the fault: two checkpoints are there."""


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
