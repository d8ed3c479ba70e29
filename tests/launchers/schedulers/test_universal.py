"""DeepSpeed goes on from a universal checkpoint until the run has one of its own."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from llmtrain.launchers.launch import Launch

FLAG = "--universal-checkpoint"
WORDS = ("recipe=gpt3-126m", "backend=megatron-deepspeed", "backend.path=/opt/m")
TRACKERS: tuple[tuple[dict[str, str], bool], ...] = (
    ({"latest": "global_step10", "latest_universal": "global_step10_universal"}, True),
    ({"latest": "global_step9", "latest_universal": "global_step10_universal"}, True),
    ({"latest": "global_step11", "latest_universal": "global_step10_universal"}, False),
    ({"latest_universal": "global_step08_universal"}, True),
    ({}, True),
)


@pytest.mark.parametrize(("trackers", "universal"), TRACKERS)
def test_the_newer_checkpoint_is_loaded(
    launch_of: Callable[..., Launch],
    write: Callable[[Launch], Path],
    trackers: dict[str, str],
    universal: bool,
) -> None:
    """The job itself starts a program that prints its arguments; the converted one wins a tie."""
    folder = write(launch_of(*WORDS, "gpus=8", "checkpoint.universal=true", python="echo"))
    (folder / "checkpoints").mkdir()
    for name, text in trackers.items():
        (folder / "checkpoints" / name).write_text(text)
    done = subprocess.run(["bash", folder / "job.sh"], capture_output=True, text=True, check=True)

    assert "pretrain_gpt.py --deepspeed" in done.stdout
    assert (FLAG in done.stdout) == universal


@pytest.mark.parametrize(
    ("file", "site"),
    [
        ("task.sh", ("site.scheduler=slurm", "site.launch=torchrun")),
        ("task.sh", ("site.scheduler=slurm", "site.launch=srun")),
        ("host.sh", ("site.scheduler=hostfile", "site.hosts=[a,b]")),
    ],
)
def test_every_start_looks(
    launch_of: Callable[..., Launch], file: str, site: tuple[str, ...]
) -> None:
    """Where such a checkpoint is asked for; other scripts have nothing of it."""
    words = (*WORDS, "gpus=16", *site)
    asked = launch_of(*words, "checkpoint.universal=true").files[file]

    assert asked.index("start=(") < asked.index(FLAG) < asked.index("step_of latest_universal")
    assert "step_of" not in launch_of(*words).files[file]
