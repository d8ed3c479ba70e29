"""The batch script: its options from plan and site, gates by version, lead time, whole text."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from llmtrain.config.errors import LaunchError
from llmtrain.launchers.launch import Launch
from llmtrain.launchers.schedulers.slurm_header import header
from llmtrain.launchers.schedulers.slurm_time import lead_seconds, limit_seconds
from llmtrain.planner.plan import Plan

GOLDEN = Path(__file__).parents[2] / "golden"
SMALL = ("recipe=gpt3-126m", "gpus=16", "backend.path=/opt/megatron-lm", "site.scheduler=slurm")
SHAPES = {
    "torchrun": ("site.slurm.restart=chain", "site.modules=[cuda/12.4]"),
    "srun-pyxis": (
        "site.launch=srun",
        "site.container.runtime=pyxis",
        f"site.container.image='nvcr.io#nvidia/nemo@sha256:{'a' * 64}'",
        "site.mounts=[/data:/data:ro]",
        "site.mpi=pmix",
        "site.gres=gres",
        "site.slurm.gpu_type=h100",
        "site.slurm.cpus_per_node=112",
        "site.secrets.names=[HF_TOKEN]",
    ),
    "apptainer": (
        "site.container.runtime=apptainer",
        "site.container.image=/images/nemo.sif",
        "site.slurm.restart=array",
        "site.slurm.host_suffix=i",
        "site.umask='0027'",
    ),
    "ft-launcher-sbcast": (
        "site.launch=ft_launcher",
        "nodes.spare=1",
        "site.software=sbcast",
        "site.nvme=/nvme",
        "site.runs='~/runs'",
        "site.group=physics",
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_scripts_are_the_golden_ones(
    launch_of: Callable[..., Launch], remarks: Callable[..., str], shape: str
) -> None:
    """job.sbatch up to the files in it, task.sh and rank.sh; shellcheck has no remark.

    When a change is meant: ``REGENERATE=1 pytest tests/launchers/schedulers/test_slurm.py``.
    """
    launch = launch_of(*SMALL, *SHAPES[shape])
    files = launch.files
    assert remarks(launch) == ""
    script = files["job.sbatch"].partition("unpack() {\n")[0]
    script = re.sub(r"^(sums='|)[0-9a-f]{64}  ", r"\1DIGEST  ", script, flags=re.MULTILINE)
    shown = "".join(
        f"==> {name} <==\n{text}"
        for name, text in (
            ("job.sbatch", script),
            ("task.sh", re.sub(r" --tensor-model.*\)$", " …)", files["task.sh"], flags=re.M)),
            ("rank.sh", files["rank.sh"]),
        )
    )
    golden = GOLDEN / f"slurm-{shape}.txt"
    if os.environ.get("REGENERATE"):
        golden.write_text(shown, encoding="utf-8")

    assert shown == golden.read_text(encoding="utf-8")


def test_the_same_recipe_gives_the_same_bytes(launch_of: Callable[..., Launch]) -> None:
    """Script and folder, whenever they are made."""
    assert launch_of(*SMALL).files == launch_of(*SMALL).files


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (("site.account=physics",), "#SBATCH --account=physics"),
        (("site.gres=gres", "site.slurm.gpu_type=a100"), "#SBATCH --gres=gpu:a100:8"),
        (("site.gres=none",), None),
        (("site.slurm.memory='0'",), "#SBATCH --mem=0"),
        (("site.slurm.switches=2@12:00:00",), "#SBATCH --switches=2@12:00:00"),
        (
            ("site.slurm.version=24.05.3", "site.slurm.segment=2"),
            "#SBATCH --segment=2",
        ),
        (("nodes.spare=1",), "#SBATCH --no-kill"),
        (("nodes.spare=1",), "#SBATCH --nodes=3"),
        (("site.slurm.restart=array", "site.slurm.jobs=7"), "#SBATCH --array=1-7%1"),
        (("site.slurm.options.licenses=lustre:1",), "#SBATCH --licenses=lustre:1"),
        (("site.slurm.options.exclusive=user",), "#SBATCH --exclusive=user"),
    ],
)
def test_options_follow_the_site(
    plan_of: Callable[..., Plan], changes: tuple[str, ...], line: str | None
) -> None:
    """Each key is one line; an option of the site's own replaces ours."""
    lines = header(plan_of(*SMALL, *changes))

    if line is None:
        assert not [each for each in lines if "gpu" in each]
    else:
        assert lines.count(line) == 1
    names = [each.partition("=")[0] for each in lines]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (("site.slurm.segment=2",), "`site.slurm.segment` needs Slurm 24.05"),
        (("site.slurm.segment=2", "site.slurm.version=22.05.8"), "this one is 22.05.8"),
        (("site.account='a b'",), "--account='a b' cannot stand"),
        (("site.time_limit=soon",), "`site.time_limit` = 'soon' is no time"),
        (
            ("site.slurm.groups=[1]", "site.slurm.partitions=[a]", "site.slurm.version=23.02"),
            "are not the 2 nodes",
        ),
    ],
)
def test_what_this_slurm_cannot_do_is_refused(
    plan_of: Callable[..., Plan], changes: tuple[str, ...], says: str
) -> None:
    """Before it is submitted, with the key."""
    with pytest.raises(LaunchError, match=re.escape(says)):
        header(plan_of(*SMALL, *changes))


def test_a_heterogeneous_job_has_a_block_for_each_part(plan_of: Callable[..., Plan]) -> None:
    """Partition and nodes of each; what belongs to the whole job stands once."""
    parts = ("site.slurm.groups=[1,1]", "site.slurm.partitions=[a,b]", "site.slurm.version=23.02")
    lines = header(plan_of(*SMALL, *parts))

    cut = lines.index("#SBATCH hetjob")
    for block, partition in ((lines[:cut], "a"), (lines[cut:], "b")):
        assert f"#SBATCH --partition={partition}" in block and "#SBATCH --nodes=1" in block
    assert "job-name" in "".join(lines[:cut]) and "job-name" not in "".join(lines[cut:])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("1:30", 90),
        ("01:00:00", 3600),
        ("2-00", 172800),
        ("1-02:03", 93780),
        ("1-02:03:04", 93784),
        ("UNLIMITED", None),
    ],
)
def test_time_limits_are_read_as_slurm_reads_them(text: str, seconds: int | None) -> None:
    """The forms of sbatch(1), ``--time``."""
    assert limit_seconds(text) == seconds


def test_the_lead_time_covers_two_steps_and_a_checkpoint(plan_of: Callable[..., Plan]) -> None:
    """More for what is slower; at the most half of the time there is; the site may say it."""
    plan = plan_of("recipe=gpt3-530b", "backend.path=/x", "site.scheduler=slurm")
    slow = plan_of(
        "recipe=gpt3-530b", "backend.path=/x", "site.scheduler=slurm", "recompute.kind=full"
    )

    assert 660 < lead_seconds(plan) <= lead_seconds(slow) < 1000
    limited = ("recipe=gpt3-530b", "backend.path=/x", "site.scheduler=slurm")
    assert lead_seconds(plan_of(*limited, "site.time_limit='10:00'")) == 300
    assert lead_seconds(plan_of(*limited, "site.slurm.lead_seconds=77")) == 77
