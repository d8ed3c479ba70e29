"""A recipe that wants a trace starts its ranks under nsys, or tells the program to trace itself."""

from collections.abc import Callable

import pytest

from llmtrain.config.errors import RecipeError
from llmtrain.launchers.launch import Launch

TRACED = ("profile.tool=nsys", "profile.start=5", "profile.steps=2", "profile.ranks=[0,8]")


def test_nsys_stands_before_the_ranks(launch_of: Callable[..., Launch]) -> None:
    """Without the key nothing changes; with it job.sh and rank.sh start nsys, a report for each."""
    local = ("recipe=gpt-tiny", "cluster=local-gpu")
    slurm = ("recipe=gpt3-530b", "site.scheduler=slurm", "backend.path=/code")

    for arguments, file, report in (
        (local, "job.sh", "--output=logs/nsys-%h"),
        (slurm, "rank.sh", "--output=logs/nsys-rank-%q{RANK}"),
    ):
        plain, traced = (launch_of(*arguments, *more).files[file] for more in ((), TRACED))
        start = traced.splitlines()[-1]
        assert "nsys" not in plain
        assert "nsys profile --trace=cuda,nvtx,osrt --capture-range=cudaProfilerApi" in start
        assert f'{report} "$LLMTRAIN_PYTHON"' in start


def test_megatron_lm_traces_itself(launch_of: Callable[..., Launch]) -> None:
    """Its first traced step is the one after so many that are done."""
    words = launch_of("recipe=gpt3-530b", *TRACED).program.arguments

    given = " ".join(words)
    assert "--profile --profile-step-start 4 --profile-step-end 6 --profile-ranks 0 8" in given
    assert "--use-pytorch-profiler" not in given


def test_nsys_needs_gpus(launch_of: Callable[..., Launch]) -> None:
    """On a cluster of CPUs it is refused by the key's name."""
    with pytest.raises(RecipeError, match=r"`profile.tool` = nsys needs GPUs"):
        launch_of("recipe=gpt-tiny", "cluster=local-cpu", *TRACED)
