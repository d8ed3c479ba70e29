"""A recipe as megatron-core's TransformerConfig, one function a concern."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from megatron.core.activations import squared_relu
from megatron.core.transformer.transformer_config import MLATransformerConfig, TransformerConfig

from llmtrain.config.layout import chunk_layers
from llmtrain.config.model import Activation
from llmtrain.config.recipe import Recipe
from llmtrain.trainer.device import Device

NORMS = {"layernorm": "LayerNorm", "layernorm1p": "LayerNorm", "rmsnorm": "RMSNorm"}
"""Ours to megatron-core's names."""

DTYPES = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp8": torch.bfloat16,
}
"""The numbers that the forward pass holds weights in."""


def transformer_config(recipe: Recipe, device: Device) -> TransformerConfig:
    """megatron-core's configuration of ``recipe``."""
    concerns = (_shape, _experts, _latent_attention, _layout, _numbers, _fp8, _recompute)
    named = device.config(recipe)
    for concern in concerns:
        named |= concern(recipe)
    kind = MLATransformerConfig if recipe.model.mla else TransformerConfig
    return kind(**named)


def _shape(recipe: Recipe) -> dict[str, Any]:
    model = recipe.model
    return {
        "num_layers": model.layers,
        "mtp_num_layers": model.mtp or None,
        "hidden_size": model.hidden,
        "num_attention_heads": model.heads,
        "num_query_groups": model.kv_head_count,
        "kv_channels": model.head_size,
        "ffn_hidden_size": model.ffn_size,
        "attention_dropout": model.dropout,
        "hidden_dropout": model.dropout,
        "normalization": NORMS[model.norm],
        "layernorm_zero_centered_gamma": model.norm == "layernorm1p",
        "layernorm_epsilon": model.norm_eps,
        "gated_linear_unit": model.gated,
        "activation_func": activation(model.activation),
        "add_bias_linear": model.bias,
        "add_qkv_bias": model.qkv_bias,
    }


def activation(name: Activation) -> Callable[[torch.Tensor], torch.Tensor]:
    """The function of the feed-forward; of the gate, where it has one."""
    functions: dict[Activation, Any] = {
        "gelu": F.gelu,
        "geglu": F.gelu,
        "swiglu": F.silu,
        "relu": F.relu,
        "relu2": squared_relu,
    }
    function: Callable[[torch.Tensor], torch.Tensor] = functions[name]
    return function


def _experts(recipe: Recipe) -> dict[str, Any]:
    model, parallel = recipe.model, recipe.parallel
    if model.experts is None:
        return {}
    shared = model.shared_experts * model.expert_ffn_size
    return {
        "num_moe_experts": model.experts,
        "expert_model_parallel_size": parallel.ep,
        "expert_tensor_parallel_size": parallel.expert_tp,
        "moe_router_topk": model.topk,
        # Softmax over the chosen few would be 1 where one is chosen, and teach the router nothing.
        "moe_router_pre_softmax": model.topk == 1,
        "moe_ffn_hidden_size": model.expert_ffn_size,
        "moe_shared_expert_intermediate_size": shared or None,
        "moe_layer_freq": [int(model.is_moe_layer(number)) for number in range(model.layers)],
        "moe_router_load_balancing_type": "aux_loss" if model.aux_loss else "none",
        "moe_aux_loss_coeff": model.aux_loss,
    }


def _latent_attention(recipe: Recipe) -> dict[str, Any]:
    """The norms behind the compressed tensors are the paper's (arXiv 2405.04434, section 3.1.2)."""
    model, mla = recipe.model, recipe.model.mla
    if mla is None:
        return {}
    return {
        "multi_latent_attention": True,
        "q_lora_rank": mla.q_rank,
        "kv_lora_rank": mla.kv_rank,
        "qk_head_dim": mla.nope_dim,
        "qk_pos_emb_head_dim": mla.rope_dim,
        "v_head_dim": mla.v_dim,
        "kv_channels": mla.v_dim,
        "qk_layernorm": True,
        "rope_type": "rope",
        "rotary_base": model.rope_base,
        "rotary_percent": model.rope_fraction,
        # Its fused kernel is YaRN's.
        "apply_rope_fusion": False,
    }


def _layout(recipe: Recipe) -> dict[str, Any]:
    parallel = recipe.parallel
    return {
        "tensor_model_parallel_size": parallel.tp,
        "pipeline_model_parallel_size": parallel.pp,
        "virtual_pipeline_model_parallel_size": parallel.vpp if parallel.vpp > 1 else None,
        "pipeline_model_parallel_layout": stages(chunk_layers(recipe) or (), recipe.model.mtp),
        "context_parallel_size": parallel.cp,
        "sequence_parallel": parallel.sequence and parallel.tp > 1,
        # The interleaved schedule sends and receives at once, one message at a time.
        "overlap_p2p_comm": parallel.vpp > 1,
        "batch_p2p_comm": parallel.vpp == 1,
    }


def stages(layers: tuple[int, ...], mtp: int = 0) -> list[list[str]] | None:
    """What each chunk holds, in megatron-core's words; None where all have as many layers."""
    if len(set(layers)) == 1:
        return None
    chunks = [["decoder"] * count for count in layers]
    chunks[0].insert(0, "embedding")
    chunks[-1] += ["mtp"] * mtp + ["loss"]
    return chunks


def _numbers(recipe: Recipe) -> dict[str, Any]:
    dtype = weight_dtype(recipe)
    return {
        "params_dtype": dtype,
        "pipeline_dtype": dtype,
        "fp16": dtype is torch.float16,
        "bf16": dtype is torch.bfloat16,
        # trainer/weights.py fills every parameter again; without this, megatron-core does not mark
        # which are cut over the tensor parallel ranks.
        "perform_initialization": True,
        "init_method_std": recipe.model.init_std,
    }


def weight_dtype(recipe: Recipe) -> torch.dtype:
    """The numbers that the forward pass holds weights in."""
    return DTYPES[recipe.precision.kind]


def _fp8(recipe: Recipe) -> dict[str, Any]:
    if recipe.precision.kind != "fp8":
        return {}
    fp8 = recipe.precision.fp8
    return {
        "fp8": fp8.format,
        "fp8_recipe": fp8.recipe,
        "fp8_param": fp8.param_gather,
        "first_last_layers_bf16": fp8.bf16_ends,
    }


def _recompute(recipe: Recipe) -> dict[str, Any]:
    recompute = recipe.recompute
    if recompute.kind == "none":
        return {}
    if recompute.kind == "selective":
        modules = list(recompute.modules)
        return {"recompute_granularity": "selective", "recompute_modules": modules}
    return {
        "recompute_granularity": "full",
        "recompute_method": recompute.method,
        "recompute_num_layers": recompute.layers,
    }
