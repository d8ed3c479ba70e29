"""Each rule broken once, and the interleaving rule against megatron-core's own schedule."""

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from megatron.core.pipeline_parallel import schedules
from megatron.core.transformer.transformer_config import TransformerConfig

from llmtrain.config.layout import microbatches
from llmtrain.config.rules import interleaving_divides, violations

if TYPE_CHECKING:
    from tests.config.conftest import Small

MOE = {"experts": 4, "topk": 2, "bias": False}
PLENTY = {"nodes": None}
FOUR = {"nodes": None, "gpus_per_node": 4}


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        (
            {"gpus": 12, "cluster": FOUR},
            "gpus_not_multiple",
            "12 GPUs is not a multiple of 2 × 4 = 8",
        ),
        (
            {"gpus": 7, "parallel": {"tp": 1, "pp": 4}},
            "gpus_not_multiple",
            "7 GPUs is not a multiple of 4",
        ),
        (
            {"gpus": 20, "parallel": {"cp": 3}, "model": {"seq": 60}, "cluster": FOUR},
            "gpus_not_multiple",
            "20 GPUs is not a multiple of 2 × 4 × 3 = 24",
        ),
        (
            {
                "gpus": 8,
                "model": {**MOE, "experts": 3, "topk": 1},
                "parallel": {"tp": 1, "pp": 4, "ep": 3, "etp": 1},
            },
            "expert_gpus_not_multiple",
            "8 GPUs is not a multiple of etp × ep × pp = 1 × 3 × 4 = 12",
        ),
        (
            {"gpus": 12, "parallel": {"pp": 2}, "batch": {"global": 15}, "cluster": PLENTY},
            "node_not_filled",
            "12 GPUs do not fill nodes of 8 (two-nodes)",
        ),
        (
            {"gpus": 32},
            "cluster_too_small",
            "32 GPUs need 4 nodes; cluster two-nodes has 2 (16 GPUs or ranks)",
        ),
        (
            {"nodes": {"spare": 1}},
            "cluster_too_small",
            "16 GPUs need 3 nodes; cluster two-nodes has 2 (16 GPUs or ranks)",
        ),
        (
            {"batch": {"global": 17, "micro": 2}},
            "batch_not_divisible",
            "global batch 17 is not a multiple of micro × dp = 2 × 2 = 4",
        ),
        (
            {"batch": {"global": 16, "ramp": {"start": 3, "step": 13, "samples": 9}}},
            "batch_not_divisible",
            "global batch 3 (on the ramp) is not a multiple of micro × dp = 1 × 2 = 2",
        ),
        (
            {"batch": {"global": 12}, "parallel": {"vpp": 2}},
            "microbatches_not_multiple",
            "global batch 12 gives 6 micro-batches, not a multiple of pp = 4, "
            "which interleaving (vpp 2) needs",
        ),
        (
            {
                "batch": {"global": 16, "ramp": {"start": 4, "step": 6, "samples": 9}},
                "parallel": {"vpp": 2},
            },
            "microbatches_not_multiple",
            "global batch 10 (on the ramp) gives 5 micro-batches, not a multiple of pp = 4, "
            "which interleaving (vpp 2) needs",
        ),
        ({"model": {"layers": 9}}, "layers_not_divisible", "9 layers is not a multiple of pp = 4"),
        (
            {"model": {"layers": 12}, "parallel": {"vpp": 2}},
            "layers_not_divisible",
            "12 layers is not a multiple of pp × vpp = 4 × 2 = 8",
        ),
        (
            {"parallel": {"account_for_embedding": True, "account_for_loss": True}},
            "layers_not_divisible",
            "8 layers (+2 for embedding and loss) is not a multiple of pp = 4",
        ),
        (
            {"parallel": {"layers_per_stage": [2, 2, 2, 3]}},
            "layers_not_divisible",
            "`parallel.layers_per_stage` sums to 9, the model has 8 layers",
        ),
        (
            {"parallel": {"layers_per_stage": [1, 3, 2, 2], "vpp": 2}},
            "layers_not_divisible",
            "`parallel.layers_per_stage` does not divide into vpp = 2 chunks at every stage",
        ),
        (
            {"parallel": {"pp": 1, "vpp": 2}},
            "vpp_needs_pp",
            "`parallel.vpp` = 2 needs `parallel.pp` above 1",
        ),
        (
            {"model": {"heads": 1, "ffn": 33}},
            "tp_not_divisor",
            "`parallel.tp` = 2 does not divide model.heads = 1, model.ffn = 33, model.kv_heads = 1",
        ),
        (
            {"model": {"kv_heads": 1}},
            "tp_not_divisor",
            "`parallel.tp` = 2 does not divide model.kv_heads = 1",
        ),
        (
            {"model": {"seq": 63}, "parallel": {"sequence": True}},
            "tp_not_divisor",
            "`parallel.tp` = 2 does not divide tokens of a rank = 63",
        ),
        (
            {"parallel": {"ep": 2}},
            "ep_not_divisor",
            "`parallel.ep` = 2 needs `model.experts`",
        ),
        (
            {"model": {**MOE, "experts": 5}, "parallel": {"tp": 1, "ep": 2, "etp": 1}},
            "ep_not_divisor",
            "`parallel.ep` = 2 does not divide model.experts = 5",
        ),
        (
            {"model": {**MOE, "moe_ffn": 3}, "parallel": {"tp": 1, "etp": 2}},
            "etp_not_divisor",
            "`parallel.etp` = 2 does not divide model.moe_ffn = 3",
        ),
        (
            {"model": {**MOE, "bias": True}, "parallel": {"tp": 1, "etp": 2}},
            "expert_biases",
            "`parallel.etp` = 2 cuts experts with biases, which only etp 1 can have",
        ),
        (
            {"parallel": {"tp": 1, "sequence": True}},
            "sequence_needs_tp",
            "`parallel.sequence` = true needs `parallel.tp` above 1",
        ),
        (
            {"model": MOE},
            "sequence_needed",
            "`parallel.sequence` = false, but experts with tp 2 need it",
        ),
        (
            {"kernels": {"tp_overlap": True}},
            "sequence_needed",
            "`parallel.sequence` = false, but `kernels.tp_overlap` needs it",
        ),
        (
            {"gpus": 16, "model": {"seq": 62}, "parallel": {"cp": 2}},
            "cp_not_divisor",
            "`parallel.cp` = 2 needs model.seq = 62 to be a multiple of 4",
        ),
        (
            {"optim": {"zero": 2}},
            "zero_with_pipeline",
            "`optim.zero` = 2 cannot be combined with pipeline parallelism (pp 4)",
        ),
        (
            {"precision": {"kind": "fp8"}},
            "precision_unsupported",
            "`precision.kind` = fp8: some has no FP8",
        ),
        (
            {"schedule": {"warmup": 11, "decay": 10}},
            "warmup_too_long",
            "`schedule.warmup` = 11 is more than `schedule.decay` = 10",
        ),
    ],
)
def test_a_broken_rule_says_its_numbers(
    small: "Small", changes: dict[str, Any], code: str, message: str
) -> None:
    """The small recipe breaks no rule; with each change it breaks this one alone."""
    found = [(problem.code, problem.message) for problem in violations(small(**changes))]

    assert violations(small()) == ()
    assert [(code, message)] == found


class Entered(Exception):
    """The schedule has passed its own checks."""


class Chunk(torch.nn.Module):
    """As much of a model chunk as the checks ask for."""

    model_type = None

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config


def megatron_accepts(pp: int, count: int) -> bool:
    """Whether megatron-core's interleaved schedule begins a step of ``count`` micro-batches."""
    config = TransformerConfig(
        num_layers=2 * pp,
        hidden_size=8,
        num_attention_heads=1,
        pipeline_model_parallel_size=pp,
        virtual_pipeline_model_parallel_size=2,
        pipeline_dtype=torch.float32,
        cuda_graph_scope=[],  # its own default warns
    )
    chunk = Chunk(config)
    group = SimpleNamespace(size=lambda: pp, rank=lambda: 0)
    names = ("tp", "cp", "embd", "pos_embd", "pp", "dp_cp")
    # The first thing after the checks; the counter before them lies on the GPU.
    enter = patch.object(schedules, "get_pp_rank_microbatches", side_effect=Entered)
    counter = patch.object(torch, "zeros", lambda *_, **__: torch.tensor(0))
    try:
        with enter, counter:
            schedules.forward_backward_pipelining_with_interleaving(
                forward_step_func=None,
                data_iterator=[],
                model=[chunk, chunk],
                num_microbatches=count,
                seq_length=8,
                micro_batch_size=1,
                p2p_communicator=SimpleNamespace(config=config, pp_group=group),
                pg_collection=SimpleNamespace(**dict.fromkeys(names, group)),
            )
    except (RuntimeError, ValueError):
        return False
    except Entered:
        return True
    raise AssertionError("the schedule ran to its end")


@pytest.mark.parametrize("pp", [2, 3, 4])
def test_interleaving_is_what_megatrons_schedule_accepts(small: "Small", pp: int) -> None:
    """Megatron's parser sees none of it: the run would die at its first step."""
    counts = range(1, 4 * pp + 2)
    ours = {}
    for count in counts:
        recipe = small(gpus=2 * pp, parallel={"pp": pp, "vpp": 2}, batch={"global": count})
        assert microbatches(recipe) == count
        ours[count] = not list(interleaving_divides(recipe))

    assert {count: megatron_accepts(pp, count) for count in counts} == ours


@given(st.integers(1, 40), st.integers(1, 40))
@settings(deadline=None, derandomize=True, max_examples=50)
def test_every_step_of_a_ramp_is_checked_like_the_last(
    small: "Small", start: int, rises: int
) -> None:
    """32 by 32 is not legal at dp 10, yet its last step is."""
    ramp = {"start": start, "step": 2, "samples": 100}
    recipe = small(batch={"global": start + 2 * rises, "ramp": ramp})
    each = [small(batch={"global": size}) for size in recipe.batch.sizes()]

    assert any(violations(one) for one in each) == bool(violations(recipe))
