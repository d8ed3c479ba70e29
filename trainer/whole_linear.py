"""A projection that every tensor parallel rank holds whole, as Transformer Engine has it."""

from collections.abc import Callable
from typing import Any

import torch
from megatron.core.transformer.transformer_config import TransformerConfig


class WholeLinear(torch.nn.Linear):
    """Latent attention's way to its compressed tensors.

    megatron-core's own layers could only cut it, which would give other parameters on a rank than
    on a GPU. Under sequence parallel each rank sees a part of the sequence; the mark on the weight
    has its gradients summed over the ranks.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        config: TransformerConfig,
        init_method: Callable[[torch.Tensor], object],
        **unused: Any,
    ) -> None:
        """The arguments are those of megatron-core's linear layers; there is no bias."""
        super().__init__(input_size, output_size, bias=False, dtype=config.params_dtype)
        init_method(self.weight)
        setattr(self.weight, "sequence_parallel", config.sequence_parallel)  # noqa: B010

    def forward(self, input: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        """The product, and no bias left to add."""
        return super().forward(input), None
