"""Which attention a recipe's program really runs."""

import pytest

from llmtrain.config.attention import is_unfused
from llmtrain.config.compose import compose
from llmtrain.planner.plan import make_plan

DEEPSPEED = ("recipe=gpt3-175b", "gpus=1024", "backend=megatron-deepspeed")


@pytest.mark.parametrize(
    ("words", "unfused"),
    [
        (("recipe=llama2-7b",), False),
        (("recipe=llama2-7b", "precision=fp16"), False),
        (("recipe=llama2-7b", "precision=fp32"), True),
        (("recipe=llama2-7b", "precision=fp32", "backend=megatron-core"), True),
        (("recipe=llama2-7b", "kernels.attention=unfused"), True),
        (("recipe=gpt-tiny",), False),
        ((*DEEPSPEED, "kernels.attention=auto"), True),
        ((*DEEPSPEED, "kernels.attention=flash"), False),
    ],
)
def test_the_program_chooses(words: tuple[str, ...], unfused: bool) -> None:
    """As its source does where nothing is asked for; torch's flash kernel on a CPU takes fp32."""
    assert is_unfused(compose(words)) == unfused


@pytest.mark.parametrize(
    "words", [("recipe=llama2-7b", "precision=fp32"), (*DEEPSPEED, "recompute.kind=none")]
)
def test_memory_and_time_are_those_of_the_kernel_that_runs(words: tuple[str, ...]) -> None:
    """Not of the one that somebody might wish for: the plan is that of `unfused`, asked for."""
    auto, asked = (
        make_plan(compose([*words, f"kernels.attention={kind}"])) for kind in ("auto", "unfused")
    )

    assert auto.peak_memory_bytes == asked.peak_memory_bytes
    assert auto.speed == asked.speed


def test_flash_attention_is_offered_where_it_would_fit() -> None:
    """To who has not asked for a kernel; in fp32 there is none to offer."""
    words = ["recipe=llama2-7b", "backend=megatron-deepspeed"]
    (problem,) = make_plan(compose(words)).errors
    (other,) = make_plan(compose([*words, "precision=fp32"])).errors

    assert problem.repairs[0].overrides == ("kernels.attention=flash",)
    assert make_plan(compose([*words, *problem.repairs[0].overrides])).errors == ()
    assert all("kernels.attention=flash" not in each.overrides for each in other.repairs)
