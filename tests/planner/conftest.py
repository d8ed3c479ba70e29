"""megatron-core's own shards, built on the meta device: no memory, no second process."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from math import lcm
from typing import Any
from unittest.mock import patch

import pytest
import torch
from megatron.core import parallel_state
from megatron.core.models.backends import LocalSpecProvider
from megatron.core.models.gpt import GPTModel
from megatron.core.models.gpt.gpt_layer_specs import (
    get_gpt_decoder_block_spec,
    get_gpt_decoder_layer_specs,
    get_gpt_mtp_block_spec,
)
from megatron.core.transformer import multi_latent_attention
from megatron.core.transformer.identity_op import IdentityOp
from megatron.core.transformer.transformer_config import MLATransformerConfig, TransformerConfig
from torch.testing._internal.distributed.fake_pg import FakeStore

from llmtrain.config.layout import chunk_layers
from llmtrain.config.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Shard:
    """What megatron-core built for one rank."""

    parameters: int
    """Of all its chunks."""
    experts: int
    """Those of routed experts among them."""
    chunks: tuple[tuple[int, ...], ...]
    """Layer numbers from 0, chunk by chunk."""


class Megatron:
    """Builds shards as Megatron-LM's ``pretrain_gpt.py`` does."""

    def shard(self, recipe: Recipe, stage: int, tp_rank: int = 0) -> Shard:
        """The shard of the first replica's rank at ``stage`` and ``tp_rank``."""
        parallel = recipe.parallel
        dense = parallel.tp * parallel.cp * parallel.pp
        world = lcm(dense, parallel.expert_tp * parallel.ep * parallel.pp)
        # In Megatron's order tp is the fastest axis and pp the slowest.
        rank = tp_rank + stage * (world // parallel.pp)
        torch.distributed.init_process_group("fake", rank=rank, world_size=world, store=FakeStore())
        try:
            parallel_state.initialize_model_parallel(
                parallel.tp,
                parallel.pp,
                virtual_pipeline_model_parallel_size=_interleaved(recipe),
                context_parallel_size=parallel.cp,
                expert_model_parallel_size=parallel.ep,
                expert_tensor_parallel_size=parallel.expert_tp,
                create_gloo_process_groups=False,
            )
            return _shard(_models(recipe))
        finally:
            parallel_state.destroy_model_parallel()
            torch.distributed.destroy_process_group()


def _interleaved(recipe: Recipe) -> int | None:
    return recipe.parallel.vpp if recipe.parallel.vpp > 1 else None


def _models(recipe: Recipe) -> list[Any]:
    with torch.device("meta"), warnings.catch_warnings(), ExitStack() as stack:
        warnings.simplefilter("ignore")  # advice about training
        for target, name, value in STAND_INS:
            stack.enter_context(patch.object(target, name, value))
        config = transformer_config(recipe)
        return [_model(recipe, config, chunk) for chunk in range(recipe.parallel.vpp)]


def _model(recipe: Recipe, config: TransformerConfig, chunk: int) -> Any:
    model = recipe.model
    vp_stage = chunk if recipe.parallel.vpp > 1 else None
    normalization = "RMSNorm" if model.norm == "rmsnorm" else None
    layers = get_gpt_decoder_block_spec(
        config, use_transformer_engine=False, normalization=normalization, vp_stage=vp_stage
    )
    prediction = None
    if model.mtp:
        last = get_gpt_decoder_layer_specs(config, False, normalization)[-1]
        prediction = get_gpt_mtp_block_spec(config, last, False, vp_stage=vp_stage)
    for layer in [*layers.layer_specs, *([last] if model.mtp else [])]:
        _duplicate(layer.submodules.self_attention.submodules)
    ends = {"ignore_virtual": False, "vp_stage": vp_stage}
    return GPTModel(
        config,
        layers,
        vocab_size=model.padded_vocab(recipe.parallel.tp),
        max_sequence_length=model.seq,
        pre_process=parallel_state.is_pipeline_first_stage(**ends),
        post_process=parallel_state.is_pipeline_last_stage(**ends),
        share_embeddings_and_output_weights=model.tied,
        position_embedding_type=POSITIONS[model.positions],
        mtp_block_spec=prediction,
        vp_stage=vp_stage,
    )


class Duplicated(torch.nn.Linear):
    """Transformer Engine's linear layer with ``parallel_mode="duplicated"``: whole on every rank.

    Megatron-LM projects down with it in MLA; the module that megatron-core takes where there is no
    Transformer Engine is cut, which no release trains with.
    """

    def __init__(self, width: int, out: int, *, parallel_mode: str, bias: bool, **_: Any) -> None:
        assert parallel_mode == "duplicated"
        super().__init__(width, out, bias=bias)


STAND_INS: list[tuple[Any, str, Any]] = [
    # Copies of the embedding and rotary frequencies go to the GPU; here only sizes count.
    (torch.Tensor, "cuda", lambda tensor: tensor),
    (torch.cuda, "current_device", lambda: "meta"),
    # Context parallelism asks for Transformer Engine's attention. No attention has parameters.
    (LocalSpecProvider, "core_attention", lambda provider: IdentityOp),
    (multi_latent_attention, "TELinear", Duplicated),
]
"""What a machine without a GPU and Transformer Engine needs, and none of it has parameters of its
own making."""

POSITIONS = {"learned": "learned_absolute", "rope": "rope", "alibi": "none", "none": "none"}
"""megatron-core's words. It has no ALiBi, which has no parameters either."""


def _duplicate(attention: Any) -> None:
    for name in ("linear_q_down_proj", "linear_kv_down_proj"):
        if hasattr(attention, name):
            setattr(attention, name, Duplicated)


def _shard(models: list[Any]) -> Shard:
    named = [pair for model in models for pair in model.named_parameters()]
    return Shard(
        parameters=sum(parameter.numel() for _, parameter in named),
        experts=sum(p.numel() for name, p in named if ".experts." in name),
        chunks=tuple(
            tuple(layer.layer_number - 1 for layer in model.decoder.layers) for model in models
        ),
    )


def transformer_config(recipe: Recipe) -> TransformerConfig:
    """The recipe in megatron-core's words, as far as parameters depend on it."""
    model = recipe.model
    named: dict[str, Any] = {
        "num_layers": model.layers,
        "hidden_size": model.hidden,
        "num_attention_heads": model.heads,
        "num_query_groups": model.kv_heads,
        "kv_channels": model.head_dim,
        "ffn_hidden_size": model.ffn,
        "normalization": "RMSNorm" if model.norm == "rmsnorm" else "LayerNorm",
        "add_bias_linear": model.bias,
        "add_qkv_bias": model.qkv_bias,
        "gated_linear_unit": model.activation in ("geglu", "swiglu"),
        "mtp_num_layers": model.mtp or None,
        "use_cpu_initialization": True,
        "perform_initialization": False,
        "gradient_accumulation_fusion": False,
        "pipeline_dtype": torch.float32,
    }
    if model.experts is not None:
        named |= _experts(recipe)
    named |= _parallel(recipe)
    mla = model.mla
    if mla is None:
        return TransformerConfig(**named)
    return MLATransformerConfig(
        **named,
        multi_latent_attention=True,
        qk_layernorm=True,
        q_lora_rank=mla.q_rank,
        kv_lora_rank=mla.kv_rank,
        qk_head_dim=mla.nope_dim,
        qk_pos_emb_head_dim=mla.rope_dim,
        v_head_dim=mla.v_dim,
        rope_type="rope",
    )


def _experts(recipe: Recipe) -> dict[str, Any]:
    model = recipe.model
    sparse = model.layers - model.dense_layers
    width = model.moe_ffn or model.ffn or 4 * model.hidden
    return {
        "num_moe_experts": model.experts,
        "moe_router_topk": model.topk,
        "moe_ffn_hidden_size": model.moe_ffn,
        "moe_shared_expert_intermediate_size": model.shared_experts * width or None,
        "moe_layer_freq": [0] * model.dense_layers + [1] * sparse,
    }


def _parallel(recipe: Recipe) -> dict[str, Any]:
    parallel = recipe.parallel
    named: dict[str, Any] = {
        "tensor_model_parallel_size": parallel.tp,
        "pipeline_model_parallel_size": parallel.pp,
        "virtual_pipeline_model_parallel_size": _interleaved(recipe),
        "context_parallel_size": parallel.cp,
        "expert_model_parallel_size": parallel.ep,
        "expert_tensor_parallel_size": parallel.expert_tp,
        "account_for_embedding_in_pipeline_split": parallel.account_for_embedding,
        "account_for_loss_in_pipeline_split": parallel.account_for_loss,
    }
    counts = chunk_layers(recipe)
    if parallel.layers_per_stage is not None and counts is not None:
        layout = [["decoder"] * count for count in counts]
        layout[0].insert(0, "embedding")
        layout[-1] += ["mtp"] * recipe.model.mtp + ["loss"]
        named["pipeline_model_parallel_layout"] = layout
    return named


@pytest.fixture(scope="session")
def megatron() -> Iterator[Megatron]:
    """Builds megatron-core's shard of any rank."""
    yield Megatron()
