"""Values become words, and what a version does not have is refused."""

import pytest

from llmtrain.config.errors import PlanError
from llmtrain.launchers.backends.arguments import command_line
from llmtrain.launchers.backends.flag_table import FlagTable, read_flags


@pytest.fixture(scope="module")
def old() -> FlagTable:
    """The flags of Megatron-LM v0.12.0rc3."""
    return read_flags("megatron-lm", "v0.12.0rc3")


def test_values_become_words_in_their_order(old: FlagTable) -> None:
    """A zero stays; None and False leave the flag out; floats are as short as they are exact."""
    words = command_line(
        {
            "--bf16": True,
            "--fp16": False,
            "--kv-channels": None,
            "--eval-iters": 0,
            "--hidden-dropout": 0.0,
            "--lr": 5e-05,
            "--clip-grad": 1.0,
            "--rampup-batch-size": (32, 32, 6000000),
        },
        old,
    )

    assert words == (
        *("--bf16", "--eval-iters", "0", "--hidden-dropout", "0", "--lr", "5e-05"),
        *("--clip-grad", "1", "--rampup-batch-size", "32", "32", "6000000"),
    )


def test_every_flag_that_is_missing_is_named_with_who_has_it(old: FlagTable) -> None:
    """An unknown flag and an unknown choice are both reported, with the versions that know them."""
    with pytest.raises(PlanError) as caught:
        command_line({"--recompute-modules": ("mlp",), "--fp8-recipe": "blockwise"}, old)

    problems = caught.value.problems
    others = "`backend.version=core_v0.19.0` has it or `backend.version=core_v0.16.1` has it"
    assert [problem.code for problem in problems] == ["flag_unknown", "flag_unknown"]
    assert [problem.hint for problem in problems] == [others, others]
    assert problems[0].says.startswith("megatron-lm v0.12.0rc3 has no flag `--recompute-modules`")
    assert "knows `tensorwise`, `delayed`, `mxfp8`, not `blockwise`" in problems[1].says
