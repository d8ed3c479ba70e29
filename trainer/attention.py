"""Attention for layers without Transformer Engine."""

import contextlib
from typing import Any

import torch
import torch.nn.functional as F
from megatron.core import parallel_state, tensor_parallel
from megatron.core.transformer.dot_product_attention import DotProductAttention
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig

from llmtrain.trainer.sequence import places


class TorchAttention(MegatronModule):
    """Causal softmax attention; keeps no matrix of scores where torch has a flash kernel.

    Under context parallel each rank has queries of its own part of the sequence and gathers the
    keys and values of all parts; their gradients are summed over the ranks.
    """

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
        self.context = parallel_state.get_context_parallel_group()

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
        result is (s, b, heads / tp x head). The mask is always causal. A value head may be of
        another width.
        """
        dropout = self.dropout if self.training else 0.0
        visible = self._visible(query)
        if visible is not None:
            key, value = self._gathered(key), self._gathered(value)
        random = tensor_parallel.get_cuda_rng_tracker().fork
        with random() if dropout else contextlib.nullcontext():
            context = F.scaled_dot_product_attention(
                query.permute(1, 2, 0, 3),
                key.permute(1, 2, 0, 3),
                value.permute(1, 2, 0, 3),
                attn_mask=visible,
                dropout_p=dropout,
                is_causal=visible is None,
                scale=self.scale,
                enable_gqa=key.shape[2] != query.shape[2],
            )
        seq, batch = query.shape[:2]
        return context.permute(2, 0, 1, 3).reshape(seq, batch, -1)

    def _visible(self, query: torch.Tensor) -> torch.Tensor | None:
        """Which gathered key each query sees; None without context parallel."""
        ranks, length = self.context.size(), query.shape[0]
        if ranks == 1:
            return None
        held = [places(rank, ranks, length).to(query.device) for rank in range(ranks)]
        mine: torch.Tensor = held[self.context.rank()]
        return mine[:, None] >= torch.cat(held)[None, :]

    def _gathered(self, part: torch.Tensor) -> torch.Tensor:
        """The parts of all ranks, one after the other."""
        whole: torch.Tensor = tensor_parallel.gather_from_sequence_parallel_region(
            part, group=self.context
        )
        return whole


class UnfusedAttention(DotProductAttention):
    """megatron-core's own, which does not know the arguments that latent attention adds."""

    def __init__(
        self,
        *args: Any,
        k_channels: int | None = None,
        v_channels: int | None = None,
        **named: Any,
    ) -> None:
        """``k_channels`` and ``v_channels`` are seen from the tensors."""
        super().__init__(*args, **named)
