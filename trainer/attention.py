"""Attention through torch's own kernel, for layers without Transformer Engine."""

import contextlib
from typing import Any

import torch
import torch.nn.functional as F
from megatron.core import tensor_parallel
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig


class TorchAttention(MegatronModule):
    """Causal softmax attention; keeps no matrix of scores where torch has a flash kernel."""

    def __init__(
        self,
        config: TransformerConfig,
        layer_number: int,
        attn_mask_type: Any,
        attention_type: str,
        attention_dropout: float | None = None,
        softmax_scale: float | None = None,
        **unused: Any,
    ) -> None:
        """The arguments are those of megatron-core's ``DotProductAttention``."""
        super().__init__(config=config)
        given = attention_dropout
        self.dropout = config.attention_dropout if given is None else given
        self.scale = softmax_scale

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        **unused: Any,
    ) -> torch.Tensor:
        """Attend.

        Shapes: query (s, b, heads / tp, head), key and value (s, b, kv_heads / tp, head); the
        result is (s, b, heads / tp x head). The mask is always causal.
        """
        dropout = self.dropout if self.training else 0.0
        random = tensor_parallel.get_cuda_rng_tracker().fork
        with random() if dropout else contextlib.nullcontext():
            context = F.scaled_dot_product_attention(
                query.permute(1, 2, 0, 3),
                key.permute(1, 2, 0, 3),
                value.permute(1, 2, 0, 3),
                dropout_p=dropout,
                is_causal=True,
                scale=self.scale,
                enable_gqa=key.shape[2] != query.shape[2],
            )
        seq, batch = query.shape[:2]
        return context.permute(2, 0, 1, 3).reshape(seq, batch, -1)
