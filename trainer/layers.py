"""Which modules the layers of a chunk are made of."""

from typing import Any

import torch
from megatron.core.models.gpt.gpt_layer_specs import (
    get_gpt_decoder_layer_specs,
    get_gpt_mtp_block_spec,
)
from megatron.core.tensor_parallel.layers import RowParallelLinear
from megatron.core.transformer.mlp import MLP
from megatron.core.transformer.moe.moe_layer import MoELayer
from megatron.core.transformer.multi_latent_attention import MLASelfAttention
from megatron.core.transformer.multi_token_prediction import MultiTokenPredictionBlockSubmodules
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules
from megatron.core.transformer.transformer_config import TransformerConfig

from llmtrain.config.layout import stage_layers
from llmtrain.config.recipe import Recipe
from llmtrain.trainer.attention import TorchAttention, UnfusedAttention
from llmtrain.trainer.device import Device
from llmtrain.trainer.whole_linear import WholeLinear


def block(
    recipe: Recipe, device: Device, config: TransformerConfig, stage: int, chunk: int
) -> TransformerBlockSubmodules:
    """The layers of chunk number ``chunk`` of ``stage``."""
    layers = every_layer(recipe, device, config)
    numbers = stage_layers(recipe)[stage][chunk]
    return TransformerBlockSubmodules(
        layer_specs=[layers[number] for number in numbers], layer_norm=norm(device)
    )


def every_layer(recipe: Recipe, device: Device, config: TransformerConfig) -> list[ModuleSpec]:
    """All layers of the model: Transformer Engine's, or megatron-core's own with our parts."""
    layers: list[ModuleSpec] = get_gpt_decoder_layer_specs(
        config, device.transformer_engine, normalization=config.normalization
    )
    for layer in layers:
        if layer.submodules.mlp.module is MLP and "mlp" in recipe.recompute.modules:
            layer.submodules.mlp.module = RecomputedFeedForward
        if not device.transformer_engine:
            _replace_parts(layer, recipe)
    return layers


def _replace_parts(layer: ModuleSpec, recipe: Recipe) -> None:
    parts, unfused = layer.submodules, recipe.kernels.attention == "unfused"
    parts.input_layernorm = parts.pre_mlp_layernorm = TorchNorm
    if parts.mlp.module is MoELayer:
        parts.mlp.submodules.experts.submodules.linear_fc2 = ExpertRow
    attention = parts.self_attention
    attention.submodules.core_attention = UnfusedAttention if unfused else TorchAttention
    if attention.module is MLASelfAttention:
        attention.submodules.q_layernorm = attention.submodules.kv_layernorm = TorchNorm
        attention.submodules.linear_q_down_proj = WholeLinear
        attention.submodules.linear_kv_down_proj = WholeLinear


def prediction(
    recipe: Recipe, device: Device, config: TransformerConfig, chunk: int | None
) -> MultiTokenPredictionBlockSubmodules | None:
    """Multi-token prediction of the last chunk, its layers as the last one; None without it."""
    if not recipe.model.mtp:
        return None
    last = every_layer(recipe, device, config)[-1]
    found: MultiTokenPredictionBlockSubmodules = get_gpt_mtp_block_spec(
        config, last, device.transformer_engine, vp_stage=chunk
    )
    if not device.transformer_engine:
        for depth in found.layer_specs:
            depth.submodules.enorm = depth.submodules.hnorm = TorchNorm
            depth.submodules.layer_norm = TorchNorm
    return found


def norm(device: Device) -> Any:
    """The norm behind the last layer."""
    if not device.transformer_engine:
        return TorchNorm
    from megatron.core.extensions.transformer_engine import TENorm

    return TENorm


class RecomputedFeedForward(MLP):
    """megatron-core's, without an endless backward pass where it is recomputed and has biases.

    It hands the bias of its second matrix on to be added later. As the parameter itself that would
    be made a product of the function that recomputes it, and lead back there.
    """

    def forward(self, *args: Any, **named: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Output, and the bias that is still to be added."""
        output, bias = super().forward(*args, **named)
        return output, bias if bias is None else bias.view_as(bias)


class ExpertRow(RowParallelLinear):
    """megatron-core's, with an output of its own: an expert's bias is added to it in place."""

    def forward(self, input_: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Output, and the bias that is still to be added."""
        output, bias = super().forward(input_)
        return output if bias is None else output.clone(), bias


class TorchNorm:
    """torch's norm, also under sequence parallel, which megatron-core's own wrapper refuses.

    There each rank sees a part of the sequence; the mark on the weights has their gradients summed
    over the tensor parallel ranks.
    """

    def __new__(  # type: ignore[misc]
        cls, config: TransformerConfig, hidden_size: int, eps: float = 1e-5, **unused: Any
    ) -> torch.nn.Module:
        """A LayerNorm or RMSNorm over the last dimension."""
        kind: Any = torch.nn.RMSNorm if config.normalization == "RMSNorm" else torch.nn.LayerNorm
        if config.layernorm_zero_centered_gamma:
            kind = ZeroCentered
        norm: torch.nn.Module = kind(hidden_size, eps=eps, dtype=config.params_dtype)
        for param in norm.parameters():
            setattr(param, "sequence_parallel", config.sequence_parallel)  # noqa: B010
        return norm


class ZeroCentered(torch.nn.LayerNorm):
    """LayerNorm1p: the scale is stored as its distance from 1."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalize the last dimension."""
        return torch.nn.functional.layer_norm(
            input, self.normalized_shape, self.weight + 1, self.bias, self.eps
        )
