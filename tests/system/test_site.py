"""What a site is, by asking a real Slurm, and what is refused before a job waits in a queue."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from tests.system.conftest import Bed


def test_detect_writes_a_site_that_works(bed: Bed, program: str) -> None:
    """The site it writes is used at once: a job runs there."""
    file = bed.folder / "config" / "llmtrain" / "site" / "found.yaml"
    bed.llmtrain("site", "detect", "--output", str(file))

    site = yaml.safe_load(file.read_text())
    assert (site["name"], site["partition"], site["time_limit"]) == ("bed", "gpu", "1-00:00:00")
    assert site["slurm"] == {"version": "22.05.8", "gpu_type": "h100", "restart": "requeue"}
    comments = file.read_text()
    for fact in ("debug: 00:30:00, 4, 2, gpu:h100:8", "short (00:30:00)", "pmix", "REQUEUE"):
        assert fact in comments
    # Its GPUs are made of nothing.
    words = ("site=found", "site.launch=srun", "site.preflight.policy=warn")
    folder = bed.launch("found", "recipe=bed-program", program, *words)
    assert bed.wait(folder)["status"] == "finished"
    assert bed.start(bed.command, "site", "detect", "-o", file).returncode == 5
    assert json.loads(bed.llmtrain("site", "show", "found", "--json"))["gres"] == "gpus-per-node"


def test_without_a_slurm_nothing_is_detected(bed: Bed) -> None:
    """No guess is made."""
    done = bed.start(bed.command, "site", "detect", PATH="/nowhere")

    assert done.returncode == 5 and "no scontrol" in done.stderr


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (("gpus=10", "batch.global=20", "cluster.nodes=8"), "partition gpu gives one job 4"),
        (("gpus=6", "batch.global=12", "site.partition=debug"), "gives one job 2"),
        (("site.time_limit='2-00:00:00'",), "is above the 1-00:00:00 of gpu"),
        (("site.partition=gpus",), "is no partition"),
        (("site.cpu_partition=cpus",), "`site.cpu_partition` = 'cpus' is no partition"),
        (("site.qos=short", "site.time_limit='01:00:00'"), "above the 00:30:00 of qos short"),
        (("site.qos=shorter",), "is no quality of service of this Slurm: normal, short"),
        (
            ("cluster.gpus_per_node=16", "gpus=16", "batch.global=32"),
            "needs 16 GPUs of a node; gpu has 8",
        ),
        (("backend.path=/no/such/place",), "`backend.path` = /no/such/place does not exist"),
        (("backend.path=checkout",), "`backend.path` = checkout is relative"),
        (("data.kind=indexed", "data.paths=[/no/data]"), "/no/data.idx does not exist"),
        (("site.account=nobody",), "Slurm refuses the job"),
        (("site.gpu_hour_limit=1",), "up to 1 GPU-hours; the site asks above 1"),
        (("env.MY_TOKEN=abc",), "`MY_TOKEN` would be written with its value"),
        ((f"description='hf_{'a' * 34}'",), "holds what looks like a Hugging Face token"),
    ],
)
def test_what_cannot_work_is_refused_before_the_queue(
    bed: Bed, program: str, changes: tuple[str, ...], says: str
) -> None:
    """With status 5, and without a folder."""
    done = bed.start(bed.command, "run", "recipe=bed-program", program, *changes)

    assert (done.returncode, says in done.stderr) == (5, True), done.stderr
    assert not list(bed.folder.glob("outputs/*"))
    assert bed.run("squeue", "--noheader") == ""


def test_a_run_above_the_limit_is_submitted_with_yes(bed: Bed, program: str) -> None:
    """And Slurm's own guess of its start is told."""
    words = ("recipe=bed-program", program, "site.gpu_hour_limit=1", "--yes")
    done = bed.start(bed.command, "run", *words)

    assert done.returncode == 0 and "Slurm expects it to start at 2" in done.stderr


def test_a_quota_that_is_too_small_is_told(
    bed: Bed, program: str, shims: Callable[..., str]
) -> None:
    """As Lustre says it; a disk that is not limited says nothing."""
    words = ("run", "recipe=bed-program", program, "--yes")
    told = [
        bed.start(
            bed.command, *words, PATH=shims(lfs=f'echo "$5 {used} 0 {limit} - 1 0 0 -"')
        ).stderr
        for used, limit in ((1000, 1001), (1000, 0))
    ]

    assert ["your quota leaves you 0.00 TB" in each for each in told] == [True, False]
