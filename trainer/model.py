"""The recipe's model as megatron-core modules: one stage of it on each rank."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from megatron.core.activations import squared_relu
from megatron.core.models.gpt import GPTModel
from megatron.core.transformer.transformer_config import TransformerConfig

from llmtrain.config.layout import chunk_layers
from llmtrain.config.model import Activation
from llmtrain.config.recipe import Recipe
from llmtrain.trainer.device import Device
from llmtrain.trainer.groups import Position
from llmtrain.trainer.layers import block

POSITIONS = {"learned": "learned_absolute", "rope": "rope", "none": "none"}
"""Ours to megatron-core's names."""

NORMS = {"layernorm": "LayerNorm", "rmsnorm": "RMSNorm"}
"""Ours to megatron-core's names."""


def build(recipe: Recipe, position: Position, device: Device) -> list["Gpt"]:
    """This rank's chunks in the order of the pipeline, their weights not yet set."""
    config = transformer_config(recipe, device)
    return [_chunk(recipe, position, device, config, chunk) for chunk in range(recipe.parallel.vpp)]


def _chunk(
    recipe: Recipe, position: Position, device: Device, config: TransformerConfig, chunk: int
) -> "Gpt":
    model, vpp = recipe.model, recipe.parallel.vpp
    virtual = chunk if vpp > 1 else None
    part = Gpt(
        config,
        block(recipe, device, config, virtual),
        vocab_size=model.padded_vocab(position.tp_size),
        max_sequence_length=model.seq,
        pre_process=position.first_stage and chunk == 0,
        post_process=position.last_stage and chunk == vpp - 1,
        parallel_output=True,
        share_embeddings_and_output_weights=model.tied,
        position_embedding_type=POSITIONS[model.positions],
        rotary_percent=model.rope_fraction,
        rotary_base=model.rope_base,
        vp_stage=virtual,
    )
    part.hide_padding(model.vocab, position.tp)
    part.to(device.torch)
    return part


def transformer_config(recipe: Recipe, device: Device) -> TransformerConfig:
    """megatron-core's configuration of ``recipe``."""
    groups = (_shape(recipe), _layout(recipe), _numbers(recipe), _recompute(recipe))
    kernels = device.config(recipe)
    return TransformerConfig(
        **{key: value for group in groups for key, value in group.items()}, **kernels
    )


def _shape(recipe: Recipe) -> dict[str, Any]:
    model = recipe.model
    return {
        "num_layers": model.layers,
        "hidden_size": model.hidden,
        "num_attention_heads": model.heads,
        "num_query_groups": model.kv_head_count,
        "kv_channels": model.head_size,
        "ffn_hidden_size": model.ffn_size,
        "attention_dropout": model.dropout,
        "hidden_dropout": model.dropout,
        "normalization": NORMS[model.norm],
        "layernorm_epsilon": model.norm_eps,
        "gated_linear_unit": model.gated,
        "activation_func": activation(model.activation),
        "add_bias_linear": model.bias,
        "add_qkv_bias": model.qkv_bias,
    }


def _layout(recipe: Recipe) -> dict[str, Any]:
    parallel = recipe.parallel
    return {
        "tensor_model_parallel_size": parallel.tp,
        "pipeline_model_parallel_size": parallel.pp,
        "virtual_pipeline_model_parallel_size": parallel.vpp if parallel.vpp > 1 else None,
        "pipeline_model_parallel_layout": stages(chunk_layers(recipe) or ()),
        "sequence_parallel": parallel.sequence and parallel.tp > 1,
        # The interleaved schedule sends and receives at once, one message at a time.
        "overlap_p2p_comm": parallel.vpp > 1,
        "batch_p2p_comm": parallel.vpp == 1,
    }


def stages(layers: tuple[int, ...]) -> list[list[str]] | None:
    """What each chunk holds, in megatron-core's words; None where all have as many layers."""
    if len(set(layers)) == 1:
        return None
    chunks = [["decoder"] * count for count in layers]
    chunks[0].insert(0, "embedding")
    chunks[-1].append("loss")
    return chunks


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


def _numbers(recipe: Recipe) -> dict[str, Any]:
    dtype = weight_dtype(recipe)
    return {
        "params_dtype": dtype,
        "pipeline_dtype": dtype,
        "bf16": recipe.precision.kind == "bf16",
        # trainer/weights.py fills every parameter again; without this, megatron-core does not mark
        # which are cut over the tensor parallel ranks.
        "perform_initialization": True,
        "init_method_std": recipe.model.init_std,
    }


def weight_dtype(recipe: Recipe) -> torch.dtype:
    """The numbers that the forward pass holds weights in."""
    return torch.bfloat16 if recipe.precision.kind == "bf16" else torch.float32


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


class Gpt(GPTModel):
    """megatron-core's GPTModel, whose loss does not see the padded end of the vocabulary."""

    def hide_padding(self, vocab: int, tp_rank: int) -> None:
        """Remember how many of this rank's rows, from the first, are real tokens."""
        self.real_rows = self.vocab_size
        if self.post_process:
            rows = self.vocab_size // self.config.tensor_model_parallel_size
            self.real_rows = min(max(vocab - tp_rank * rows, 0), rows)

    def compute_language_model_loss(
        self, labels: torch.Tensor, logits: torch.Tensor
    ) -> torch.Tensor:
        """Loss of every token in nats, shape (b, s), from logits (s, b, padded vocab / tp).

        A padded entry has probability zero, so the loss is the same however much padding the
        tensor parallel size asks for.
        """
        if self.real_rows < logits.shape[-1]:
            logits = logits.clone()
            logits[..., self.real_rows :] = float("-inf")
        loss: torch.Tensor = super().compute_language_model_loss(labels, logits)
        return loss
