"""How each fault is made. Rank 3 is the one that suffers, on the second node."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil

from tests.system.scene import Scene

VICTIM = 3
"""The rank that most of this is done to."""
KILLS = 5
"""Saves of a run in which a rank is killed."""


def kill_rank(scene: Scene) -> None:
    """SIGKILL to the rank."""
    scene.rank(VICTIM).kill()


def kill_launcher(scene: Scene) -> None:
    """SIGKILL to the torchrun of its node."""
    node = scene.node(VICTIM)
    for process in scene.processes("torch.distributed.run"):
        if process.environ()["SLURMD_NODENAME"] == node:
            process.kill()


def kill_task(scene: Scene) -> None:
    """SIGKILL to task.sh, above the launcher."""
    for process in scene.rank(VICTIM).parents():
        if "task.sh" in " ".join(process.cmdline()):
            process.kill()


def kill_srun(scene: Scene) -> None:
    """SIGKILL to srun, in the batch script."""
    for process in scene.batch_script().children(recursive=True):
        with suppress(psutil.Error):
            if process.name() == "srun":
                process.kill()


def lose_node(scene: Scene) -> None:
    """Slurm is told that the node is down."""
    name = f"nodename={scene.node(VICTIM)}"
    scene.bed.run("scontrol", "update", name, "state=down", "reason=test")


def power_off(scene: Scene) -> None:
    """The node is gone, with everything on it."""
    scene.node_script("kill", scene.node(VICTIM))


def stop_daemon(scene: Scene) -> None:
    """slurmd of the node is dead; what it has started lives on, until Slurm sees it and later."""
    scene.node_script("stop-daemon", scene.node(VICTIM))
    throttle(scene, 0.5, lambda: len(scene.events("launched")) > 1)


def unplug(scene: Scene) -> None:
    """The network of the node is cut; it has the file system still."""
    scene.node_script("unplug", scene.node(VICTIM))


def split_brain(scene: Scene) -> None:
    """slurmd of the only node dies, and its ranks wake up when the run goes on elsewhere."""
    old = [scene.rank(0), scene.rank(1)]
    for process in old:
        process.suspend()
    scene.node_script("stop-daemon", scene.node(0))
    scene.until(lambda: len(scene.events("resumed")) == 1, "a life on another node")
    for process in old:
        process.resume()
    psutil.wait_procs(old, timeout=60)


def requeue(scene: Scene) -> None:
    """Somebody requeues the job."""
    scene.bed.run("scontrol", "requeue", scene.job())


def preempt(scene: Scene) -> None:
    """A job of higher priority wants the nodes: Slurm sends SIGTERM, and kills 20 seconds later."""
    nodes = ",".join({scene.node(0), scene.node(VICTIM)})
    words = ("--partition=debug", "--nodes=2", f"--nodelist={nodes}", "--exclusive", "-Aphysics")
    scene.bed.run("sbatch", *words, "--output=/dev/null", "--wrap=sleep 3")


def near_the_end(scene: Scene) -> None:
    """What Slurm sends before the time limit, to the batch script alone."""
    scene.batch_script().send_signal(signal.SIGUSR1)


def time_limit(scene: Scene) -> None:
    """Nothing: Slurm itself tells of the limit, two minutes; until then the run hardly moves."""
    log = scene.folder / "logs" / "launcher.log"
    throttle(scene, 3, lambda: "the time limit is near" in log.read_text(), 180)


def cancel(scene: Scene) -> None:
    """scancel; nothing must begin again."""
    scene.bed.run("scancel", scene.job())
    scene.until(lambda: scene.bed.run("squeue", "--noheader") == "", "an empty queue")
    time.sleep(5)


def hang(scene: Scene) -> None:
    """The rank is stopped, and stays so."""
    scene.rank(VICTIM).suspend()


def named(scene: Scene) -> bool:
    """Whether the run has found the rank slow; on a busy machine others may be too."""
    return any(event["rank"] == VICTIM for event in scene.events("straggler"))


def slow_down(scene: Scene) -> None:
    """The rank runs a tenth of the time, until somebody says so."""
    throttle(scene, 0.18, lambda: named(scene))


def throttle(scene: Scene, pause: float, enough: Callable[[], bool], seconds: float = 90) -> None:
    """Let the rank run for 0.02 seconds, then stop it for ``pause`` seconds, and so on."""
    process = scene.rank(VICTIM)
    end = time.monotonic() + seconds
    with suppress(psutil.NoSuchProcess):
        while not enough() and time.monotonic() < end:
            process.suspend()
            time.sleep(pause)
            process.resume()
            time.sleep(0.02)
        process.resume()


def fill_disk(scene: Scene) -> None:
    """Nothing more can be written where the checkpoints go, for two of them."""
    filler = Path(scene.bed.environment["BED"]) / "small" / "filler"
    with suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(bytes(1 << 20))
            file.flush()
    scene.until(lambda: len(scene.events("checkpoint_failed")) >= 2, "two failed saves")
    filler.unlink()


def newest(scene: Scene) -> Path:
    """The newest complete checkpoint."""
    return max(scene.folder.glob("checkpoints/step-????????"))


def largest(checkpoint: Path) -> Path:
    """The largest file, which is that of a rank."""
    return max(checkpoint.iterdir(), key=lambda path: path.stat().st_size)


def stop(scene: Scene) -> None:
    """Ask the run to stop, and wait until its job is gone."""
    (scene.folder / "control" / "stop").touch()
    scene.until(lambda: scene.bed.run("squeue", "--noheader") == "", "the end of the job")


def damaged(harm: Callable[[Path], None]) -> Callable[[Scene], None]:
    """The run is stopped, its newest checkpoint suffers, and it is resumed."""

    def strike(scene: Scene) -> None:
        stop(scene)
        harm(newest(scene))
        scene.bed.llmtrain("resume", scene.folder.name, LLMTRAIN_SETTLE_SECONDS="1")

    return strike


def truncate(checkpoint: Path) -> None:
    """A rank's file ends in the middle."""
    path = largest(checkpoint)
    os.truncate(path, path.stat().st_size // 2)


def flip_bit(checkpoint: Path) -> None:
    """One bit of a rank's file is another."""
    path = largest(checkpoint)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def remove_file(checkpoint: Path) -> None:
    """A rank's file is not there."""
    largest(checkpoint).unlink()


def saving(scene: Scene, after: int) -> bool:
    """Whether the newest life is writing a checkpoint, some steps later."""
    life = (scene.folder / "control" / "life").read_text().split()[0]
    return scene.step() > after and any(scene.folder.glob(f"checkpoints/*.{life}.partial/*"))


def kill_while_saving(scene: Scene) -> None:
    """SIGKILL to a rank at random moments of saves, a life each; the first to rank 0.

    From the first file of a save on, up to half as long again as saves have taken.
    """
    dice = random.Random(scene.folder.name.rpartition("-")[0])
    longest = max(event["seconds"] for event in scene.events("checkpoint"))
    for life in range(KILLS):
        scene.until(partial(saving, scene, scene.step()), "a save")
        rank, seconds = (0 if life == 0 else dice.randrange(4)), dice.uniform(0, 1.5 * longest)
        time.sleep(seconds)
        with suppress(psutil.NoSuchProcess, ValueError):
            scene.rank(rank).kill()
        print(f"life {life + 1}: SIGKILL to rank {rank} {seconds:.3f} s into a save")
        if life < KILLS - 1:
            scene.resumed(life + 1)


def resume_twice(scene: Scene) -> None:
    """The run is stopped, and two jobs at once go on with it: one of them refuses."""
    stop(scene)
    script = scene.folder / "job.sbatch"
    for _ in range(2):
        scene.bed.run("sbatch", script, LLMTRAIN_SETTLE_SECONDS="1")
    log = scene.folder / "logs" / "launcher.log"
    scene.until(lambda: "has this run" in log.read_text(), "a refusal")
