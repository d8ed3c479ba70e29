"""A program of its own: what autograd saves in megatron-core's GPTModel on a CPU.

Reads a JSON list of recipes, writes a JSON list of the bytes that the forward pass of one
micro-batch leaves for the backward pass: storages counted once, parameters left out. Tensor
parallel ranks talk through torch's fake process group: the sizes are those of a real one.
"""
# The stand-ins for CUDA must be in place before megatron-core is imported.
# ruff: noqa: E402

import contextlib
import json
import logging
import sys
import warnings
import weakref
from typing import Any

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import torch

from llmtrain.config.build import build
from llmtrain.config.recipe import Recipe
from llmtrain.trainer import without_cuda

without_cuda.install()

import megatron.core.tensor_parallel.random as megatron_random
from megatron.core import parallel_state
from megatron.core.models.gpt import GPTModel
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.transformer import multi_latent_attention
from megatron.core.transformer.dot_product_attention import DotProductAttention
from megatron.core.transformer.moe import moe_utils
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules
from megatron.core.transformer.transformer_config import MLATransformerConfig, TransformerConfig
from torch.testing._internal.distributed.fake_pg import FakeStore

from llmtrain.trainer.attention import TorchAttention
from llmtrain.trainer.megatron_config import activation

NUMBERS = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Norm(torch.nn.Module):
    """torch's own norm: the local spec's refuses sequence parallel."""

    def __new__(cls, config: Any, hidden_size: int, eps: float = 1e-5, **_: Any) -> Any:
        """The norm that the configuration asks for."""
        kind = torch.nn.RMSNorm if config.normalization == "RMSNorm" else torch.nn.LayerNorm
        return kind(hidden_size, eps=eps).to(config.params_dtype)


class LatentAttention(DotProductAttention):  # type: ignore[misc]
    """megatron-core's unfused attention does not take the widths that MLA passes."""

    def __init__(self, *args: Any, k_channels: int = 0, v_channels: int = 0, **named: Any) -> None:
        super().__init__(*args, **named)


class NoFp8:
    """Stands in for Transformer Engine's state, which recomputing norms asks for."""

    @staticmethod
    def is_fp8_enabled() -> bool:
        """Never."""
        return False


def stand_ins() -> None:
    """What megatron-core takes from Transformer Engine and reads without it."""
    for name in ("activation_recompute_forward", "fp8_autocast"):
        setattr(megatron_random, name, lambda **_: contextlib.nullcontext())
    megatron_random.FP8GlobalStateManager = NoFp8
    moe_utils.te_general_gemm = None
    for name in ("TELinear", "Linear", "TEColumnParallelLinear"):
        if not isinstance(getattr(multi_latent_attention, name, None), type):
            setattr(multi_latent_attention, name, type(name, (), {}))


def spec_of(recipe: Recipe) -> Any:
    """megatron-core's local layers, with torch's norms."""
    model = recipe.model
    spec = get_gpt_layer_local_spec(
        num_experts=model.experts, multi_latent_attention=model.mla is not None
    )
    parts = spec.submodules
    parts.input_layernorm = parts.pre_mlp_layernorm = Norm
    attention = parts.self_attention.submodules
    if model.mla is not None:
        attention.q_layernorm = attention.kv_layernorm = Norm
        attention.core_attention = LatentAttention
    if recipe.kernels.attention != "unfused":
        attention.core_attention = ModuleSpec(module=TorchAttention)
    return TransformerBlockSubmodules(layer_specs=[spec] * model.layers, layer_norm=Norm)


def config_of(recipe: Recipe) -> TransformerConfig:
    """The recipe in megatron-core's words."""
    model, parallel, numbers = recipe.model, recipe.parallel, NUMBERS[recipe.precision.kind]
    named: dict[str, Any] = {
        "num_layers": model.layers,
        "hidden_size": model.hidden,
        "num_attention_heads": model.heads,
        "num_query_groups": model.kv_head_count,
        "kv_channels": model.head_size,
        "ffn_hidden_size": model.ffn_size,
        "attention_dropout": model.dropout,
        "hidden_dropout": model.dropout,
        "normalization": "RMSNorm" if model.norm == "rmsnorm" else "LayerNorm",
        "gated_linear_unit": model.gated,
        "activation_func": activation(model.activation),
        "add_bias_linear": model.bias,
        "tensor_model_parallel_size": parallel.tp,
        "sequence_parallel": parallel.sequence,
        "params_dtype": numbers,
        "bf16": numbers is torch.bfloat16,
        "attention_softmax_in_fp32": False,
        "bias_activation_fusion": False,
        "bias_dropout_fusion": False,
        "masked_softmax_fusion": False,
    }
    named |= recompute_of(recipe) | experts_of(recipe)
    if model.mla is None:
        return TransformerConfig(**named)
    latent = {
        "multi_latent_attention": True,
        "q_lora_rank": model.mla.q_rank,
        "kv_lora_rank": model.mla.kv_rank,
        "qk_head_dim": model.mla.nope_dim,
        "qk_pos_emb_head_dim": model.mla.rope_dim,
        "v_head_dim": model.mla.v_dim,
        "kv_channels": model.mla.v_dim,
        "rope_type": "rope",
    }
    return MLATransformerConfig(**named | latent)


def recompute_of(recipe: Recipe) -> dict[str, Any]:
    """What is recomputed."""
    wanted = recipe.recompute
    if wanted.kind == "none":
        return {}
    if wanted.kind == "selective":
        return {
            "recompute_granularity": "selective",
            "recompute_modules": list(wanted.modules),
        }
    return {
        "recompute_granularity": "full",
        "recompute_method": wanted.method,
        "recompute_num_layers": wanted.layers,
    }


def experts_of(recipe: Recipe) -> dict[str, Any]:
    """The experts, if there are any."""
    model = recipe.model
    if model.experts is None:
        return {}
    return {
        "num_moe_experts": model.experts,
        "moe_router_topk": model.topk,
        "moe_ffn_hidden_size": model.expert_ffn_size,
        "moe_shared_expert_intermediate_size": model.shared_experts * model.expert_ffn_size or None,
        "moe_token_dispatcher_type": "allgather",
        "moe_aux_loss_coeff": 0.01,
        "expert_tensor_parallel_size": recipe.parallel.expert_tp,
    }


def model_of(recipe: Recipe) -> Any:
    """The whole model of one rank."""
    model = recipe.model
    built = GPTModel(
        config_of(recipe),
        spec_of(recipe),
        vocab_size=model.padded_vocab(recipe.parallel.tp),
        max_sequence_length=model.seq,
        share_embeddings_and_output_weights=model.tied,
        position_embedding_type="rope" if model.positions == "rope" else "learned_absolute",
    )
    return built.to(NUMBERS[recipe.precision.kind]).train()


class Kept:
    """A tensor that autograd holds; gone when autograd lets go of it."""

    def __init__(self, tensor: torch.Tensor) -> None:
        """Hold it in autograd's place."""
        self.tensor = tensor


def saved_bytes(model: Any, tokens: torch.Tensor, places: torch.Tensor) -> int:
    """What the forward pass leaves for the backward pass."""
    weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept: weakref.WeakSet[Kept] = weakref.WeakSet()

    def keep(tensor: torch.Tensor) -> Kept:
        kept.add(held := Kept(tensor))
        return held

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda held: held.tensor):
        loss = model(tokens, places, None, labels=tokens)
    # A module that recomputes its output has emptied the storage after it was saved.
    storages = {
        held.tensor.untyped_storage()._cdata: held.tensor.untyped_storage() for held in kept
    }
    total = sum(storage.nbytes() for key, storage in storages.items() if key not in weights)
    del loss
    return total


def measure(recipe: Recipe) -> int:
    """What one recipe's model saves."""
    torch.distributed.init_process_group(
        "fake", rank=0, world_size=recipe.parallel.tp, store=FakeStore()
    )
    parallel_state.initialize_model_parallel(
        recipe.parallel.tp,
        expert_tensor_parallel_size=recipe.parallel.expert_tp,
        create_gloo_process_groups=False,
    )
    try:
        megatron_random.model_parallel_cuda_manual_seed(1)
        model = model_of(recipe)
        shape = (recipe.batch.micro, recipe.model.seq)
        tokens = torch.randint(0, recipe.model.vocab, shape)
        places = torch.arange(recipe.model.seq).expand(shape)
        return saved_bytes(model, tokens, places)
    finally:
        parallel_state.destroy_model_parallel()
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    stand_ins()
    torch.set_num_threads(1)
    recipes = [build(Recipe, data) for data in json.load(sys.stdin)]
    json.dump([measure(recipe) for recipe in recipes], sys.stdout)
