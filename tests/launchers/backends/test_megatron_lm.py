"""Megatron-LM's arguments: each version's parser accepts them, and they say what the plan says."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from megatron.core.num_microbatches_calculator import RampupBatchsizeNumMicroBatchesCalculator

from llmtrain.config.compose import compose
from llmtrain.config.errors import PlanError
from llmtrain.config.layout import data_parallel, step_samples
from llmtrain.launchers.backends import program
from llmtrain.launchers.backends.flag_table import read_flags
from llmtrain.launchers.backends.layout_arguments import layout_string
from llmtrain.launchers.backends.megatron_lm import arguments
from llmtrain.launchers.backends.training_arguments import program_run, step_schedule
from llmtrain.planner.limits import VERSIONS

if TYPE_CHECKING:
    from tests.launchers.backends.conftest import Rendering

FOR_ALL = (
    ("recipe=gpt3-530b",),
    ("recipe=gpt3-126m", "schedule=wsd", "run.seed=7"),
    ("recipe=mt-nlg-530b", "backend=megatron-lm", "optim.offload=true", "optim.zero=1"),
    ("recipe=llama2-70b", "parallel.cp=2", "gpus=2048", "kernels.cuda_graphs=true"),
    ("recipe=llama3-8b", "data=indexed", "data.paths=[/a,/b]", "data.weights=[0.5,2.5]"),
    ("recipe=llama2-7b", "data=indexed", "data.paths=[/a]", "data.tokenizer=/t/llama.model"),
    ("recipe=nemotron4-340b", "parallel.order=tp-cp-ep-pp-dp"),
    ("recipe=mixtral-8x7b", "kernels.dispatcher=deepep"),
    ("recipe=mixtral-8x7b", "recompute.kind=full", "run.steps=100", "schedule.warmup=10"),
    ("recipe=mlperf-gpt3-175b", "precision.fp8.bf16_ends=true"),
)
"""Recipes that every known version can run."""

FOR_NEW = (
    ("recipe=deepseek-v3",),
    ("recipe=gpt3-175b", "recompute.kind=selective", "recompute.modules=[layernorm,mlp]"),
    ("recipe=llama2-7b", "gpus=256", "parallel.pp=2", "parallel.layers_per_stage=[15,17]"),
)
"""Recipes with layouts, modules and numbers that came after v0.12.0rc3."""

NEW, MIDDLE, OLD = VERSIONS["megatron-lm"]
CASES = [(recipe, version) for recipe in FOR_ALL for version in (NEW, MIDDLE, OLD)]
CASES += [(recipe, version) for recipe in FOR_NEW for version in (NEW, MIDDLE)]


@pytest.mark.parametrize(("asked", "version"), CASES)
def test_each_version_reads_back_what_was_meant(
    rendering: Rendering, asked: tuple[str, ...], version: str
) -> None:
    """A parser with the version's own flags, types and choices gives every value back."""
    plan = rendering.plan(*asked, f"backend.version={version}")
    table = read_flags("megatron-lm", version)
    found = vars(rendering.parsed(table, program(plan).arguments))
    meant = rendering.expected(table, arguments(plan.recipe, table))

    assert {dest: found[dest] for dest in meant} == meant


def test_530b_is_eight_by_thirty_five(rendering: Rendering) -> None:
    """The layout of the paper: interleaved three times, sequence parallel, selective recompute."""
    rendered = program(rendering.plan("recipe=gpt3-530b"))
    line = " ".join(rendered.arguments)

    assert rendered.script == "/opt/program/pretrain_gpt.py"
    assert "--tensor-model-parallel-size 8 --sequence-parallel" in line
    assert "--pipeline-model-parallel-size 35 --num-virtual-stages-per-pipeline-rank 3" in line
    assert "--micro-batch-size 1 --global-batch-size 2240" in line
    assert "--recompute-granularity selective --recompute-modules core_attn" in line
    assert "--use-distributed-optimizer" not in line


@pytest.mark.parametrize(("version", "vocab"), [(NEW, 51200), (MIDDLE, 51199), (OLD, 51199)])
def test_the_null_tokenizer_has_the_recipes_vocabulary(
    rendering: Rendering, version: str, vocab: int
) -> None:
    """Older versions add the end-of-document token to what they are told."""
    plan = rendering.plan("recipe=gpt3-530b", f"backend.version={version}")
    words = program(plan).arguments

    assert words[words.index("--vocab-size") + 1] == str(vocab)


@pytest.mark.parametrize(
    ("chunks", "mtp", "layout"),
    [
        ((5, *[6] * 10, 5), 0, "Et*5|(t*6|)*10t*5L"),
        ((15, 17), 0, "Et*15|t*17L"),
        ((4, *[4] * 14, 1), 1, "Et*4|(t*4|)*14tmL"),
        ((1, 2, 0, 2), 0, "Et|t*2||t*2L"),
    ],
)
def test_uneven_splits_as_megatron_writes_them(
    chunks: tuple[int, ...], mtp: int, layout: str
) -> None:
    """BLOOM's split, two stages, DeepSeek-V3's with its prediction layer, an empty chunk."""
    assert layout_string(chunks, mtp) == layout


def test_the_oldest_version_knows_a_different_first_and_last_stage(rendering: Rendering) -> None:
    """A split whose middle is even needs no layout string there."""
    asked = ("recipe=llama2-7b", "gpus=512", "parallel={pp: 4, layers_per_stage: [7,9,9,7]}")
    line = " ".join(program(rendering.plan(*asked, f"backend.version={OLD}")).arguments)

    assert "--decoder-first-pipeline-num-layers 7 --decoder-last-pipeline-num-layers 7" in line


def test_an_old_version_refuses_what_it_has_no_flag_for(rendering: Rendering) -> None:
    """The problem names the version, the flag and who has it."""
    plan = rendering.plan("recipe=deepseek-v3", f"backend.version={OLD}")

    with pytest.raises(PlanError) as caught:
        program(plan)

    assert {problem.code for problem in caught.value.problems} == {"flag_unknown"}


def test_a_ramp_is_a_schedule_of_steps_in_the_newest_version(rendering: Rendering) -> None:
    """Each step begins where the recipe's batch grows, counted in tokens, and not one earlier."""
    recipe = rendering.recipe("recipe=mt-nlg-530b", "backend=megatron-lm")
    batch, ramp = recipe.batch, recipe.batch.ramp
    assert ramp is not None
    calculator = RampupBatchsizeNumMicroBatchesCalculator(
        *(batch.global_, batch.micro, data_parallel(recipe), False, 0),
        *(ramp.start, ramp.step, ramp.samples),
    )
    steps = [entry.split(":") for entry in step_schedule(recipe).split(",")]

    assert [int(size) for _, size in steps] == list(batch.sizes())
    for threshold, size in steps[1:]:
        samples = int(threshold) // recipe.model.seq
        calculator.update(samples, consistency_check=False)
        assert calculator.get_current_global_batch_size() == int(size)
        calculator.update(samples - 1, consistency_check=False)
        assert calculator.get_current_global_batch_size() < int(size)


def test_a_ramp_is_counted_in_samples(rendering: Rendering) -> None:
    """Run and warm-up are samples: so many as their steps consume, one step after the other."""
    plan = rendering.plan("recipe=mt-nlg-530b", "backend=megatron-lm", f"backend.version={OLD}")
    recipe, words = plan.recipe, program(plan).arguments
    consumed = sum(len(step_samples(recipe, done)) for done in range(recipe.schedule.warmup))

    assert words[words.index("--lr-warmup-samples") + 1] == str(consumed)
    assert words[words.index("--train-samples") + 1] == str(-(-270 * 10**9 // 2048))
    assert "--train-iters" not in words


def test_experts_behind_dense_layers_and_shared_ones(rendering: Rendering) -> None:
    """DeepSeek-V3: three dense layers, then 256 experts of 2048 and a shared one."""
    line = " ".join(program(rendering.plan("recipe=deepseek-v3")).arguments)

    assert "--moe-layer-freq ([0]*3+[1]*58)" in line
    assert "--moe-ffn-hidden-size 2048 --moe-shared-expert-intermediate-size 2048" in line
    assert "--q-lora-rank 1536 --kv-lora-rank 512" in line


def test_every_version_saves_on_the_signal_that_the_job_sends() -> None:
    """Its handler is asked for, and waits for SIGTERM, as `test_task` shows the ranks to get."""
    tables = [read_flags("megatron-lm", version) for version in VERSIONS["megatron-lm"]]
    tables += [
        read_flags("megatron-deepspeed", version) for version in VERSIONS["megatron-deepspeed"]
    ]
    waits_for = {table.version: table.flags.get("--exit-signal") for table in tables}
    recipe = compose(["recipe=llama2-7b"])

    assert program_run(recipe)["--exit-signal-handler"] is True
    assert all("--exit-signal-handler" in table for table in tables)
    # Versions without the flag know no other signal.
    assert {flag.default for flag in waits_for.values() if flag} == {int(signal.SIGTERM)}
