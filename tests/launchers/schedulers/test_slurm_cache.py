"""The job that builds the index of the data: when there is one, and what it runs."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from llmtrain.launchers.launch import Launch
from llmtrain.launchers.schedulers.slurm_cache import why_not
from llmtrain.planner.plan import Plan
from llmtrain.runs.cache import is_current

CPU = ("site.scheduler=slurm", "site.cpu_partition=cpu")
MEGATRON = ("recipe=gpt3-126m", "gpus=16", "backend.path=/opt/megatron-lm", "data.kind=indexed")
SETS = ("data.paths=[/d/a]", "data.cache=/d/cache")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((*MEGATRON, *SETS, *CPU), ""),
        (("recipe=gpt-tiny", "data.cache=/c", *CPU), ""),
        ((*MEGATRON, *SETS, CPU[0]), "`site.cpu_partition` is not given"),
        ((*MEGATRON, SETS[0], *CPU), "`data.cache` is not given"),
        (("recipe=gpt-tiny", "data=mock", "data.cache=/c", *CPU), "made-up tokens"),
        ((*MEGATRON, *SETS, *CPU, "backend.version=core_v0.16.1"), "core_v0.16.1 has no tools"),
        (("recipe=mt-nlg-530b", "backend.path=/m", *SETS, *CPU), "made-up tokens"),
        (
            ("recipe=mt-nlg-530b", "backend.path=/m", "data.kind=indexed", *SETS, *CPU),
            "megatron-deepspeed has no program",
        ),
    ],
)
def test_when_there_is_one(
    plan_of: Callable[..., Plan],
    launch_of: Callable[..., Launch],
    words: tuple[str, ...],
    says: str,
) -> None:
    """Where there is none a dry run has the reason."""
    assert why_not(plan_of(*words).recipe).startswith(says)
    assert ("cache.sbatch" in launch_of(*words).files) == (not says)


def test_what_it_runs(launch_of: Callable[..., Launch], remarks: Callable[..., str]) -> None:
    """Megatron-LM's own tool with the run's arguments and as many ranks; our trainer its module."""
    launch = launch_of(
        *MEGATRON, *SETS, *CPU, "site.container.runtime=pyxis", "site.container.image=x"
    )
    script = launch.files["cache.sbatch"]
    tool = "build=(/opt/megatron-lm/tools/prepare_cache.py --prepare-cache-world-size 16 --tensor"

    assert remarks(launch) == ""
    assert tool in script and "--data-cache-path /d/cache" in script
    assert "#SBATCH --partition=cpu\n" in script and "gpus" not in script.partition("set -e")[0]
    assert "--container-image=x" in script
    ours = launch_of("recipe=gpt-tiny", "data.cache=/c", *CPU)
    assert "build=(-m llmtrain.trainer.cache .)\n" in ours.files["cache.sbatch"]
    assert remarks(ours) == ""


def test_the_mark_is_the_same_on_both_sides(
    launch_of: Callable[..., Launch], write: Callable[..., Path], tmp_path: Path
) -> None:
    """Whoever submits finds what the job has left; other data, or another recipe, is not marked."""
    (tmp_path / "cache").mkdir()
    for suffix in (".bin", ".idx"):
        (tmp_path / f"set{suffix}").write_text("tokens")
    words = (*MEGATRON, *CPU, f"data.paths=[{tmp_path}/set]", f"data.cache={tmp_path}/cache")
    folder = write(launch_of(*words))
    assert not is_current(folder)

    text = (folder / "cache.sbatch").read_text().removesuffix("main\nexit\n")
    leaves = f'{text}\nbegin\n: >"$done_mark"\n'
    subprocess.run(["bash", "-c", leaves], cwd=folder, check=True)
    assert is_current(folder)
    os.utime(tmp_path / "set.bin", (1, 1))
    assert not is_current(folder)
    facts = json.loads((folder / "cache.json").read_text())
    assert (
        facts["digest"] != json.loads(launch_of(*words, "run.seed=7").files["cache.json"])["digest"]
    )
