"""Which modules a layer is made of, and how many layers a chunk has."""

from typing import Any

import torch
from megatron.core.models.gpt.gpt_layer_specs import (
    get_gpt_layer_local_spec,
    get_gpt_layer_with_transformer_engine_spec,
)
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_block import (
    TransformerBlockSubmodules,
    get_num_layers_to_build,
)
from megatron.core.transformer.transformer_config import TransformerConfig

from llmtrain.config.recipe import Recipe
from llmtrain.trainer.attention import TorchAttention
from llmtrain.trainer.device import Device


def block(
    recipe: Recipe, device: Device, config: TransformerConfig, chunk: int | None
) -> ModuleSpec | TransformerBlockSubmodules:
    """The layers of this rank's chunk number ``chunk``; None where a stage is one chunk."""
    if device.transformer_engine:
        return get_gpt_layer_with_transformer_engine_spec()
    layer = get_gpt_layer_local_spec(normalization=config.normalization)
    layer.submodules.input_layernorm = TorchNorm
    layer.submodules.pre_mlp_layernorm = TorchNorm
    if recipe.kernels.attention != "unfused":
        layer.submodules.self_attention.submodules.core_attention = TorchAttention
    count = get_num_layers_to_build(config, vp_stage=chunk)
    return TransformerBlockSubmodules(layer_specs=[layer] * count, layer_norm=TorchNorm)


class TorchNorm:
    """torch's norm, also under sequence parallel, which megatron-core's own wrapper refuses.

    There each rank sees a part of the sequence; the mark on the weights has their gradients summed
    over the tensor parallel ranks.
    """

    def __new__(  # type: ignore[misc]
        cls, config: TransformerConfig, hidden_size: int, eps: float = 1e-5, **unused: Any
    ) -> torch.nn.Module:
        """A LayerNorm or RMSNorm over the last dimension."""
        kind = torch.nn.RMSNorm if config.normalization == "RMSNorm" else torch.nn.LayerNorm
        norm: torch.nn.Module = kind(hidden_size, eps=eps, dtype=config.params_dtype)
        for param in norm.parameters():
            setattr(param, "sequence_parallel", config.sequence_parallel)  # noqa: B010
        return norm
