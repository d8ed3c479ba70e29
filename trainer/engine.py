"""What the loop, the step and the checkpoints ask of an engine: it owns weights and optimizer.

There are two: megatron-core's own (:mod:`llmtrain.trainer.megatron_engine`) and DeepSpeed's
(:mod:`llmtrain.trainer.deepspeed`). Neither knows of the recipe's schedule, data or records.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from llmtrain.trainer.batches import MicroBatch
from llmtrain.trainer.parts import Part


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """The micro-batches of one step, or of one validation, on this rank."""

    read: Callable[[], Iterator[MicroBatch] | None]
    """Begins to read them; None on a stage that sees no tokens. Virtual stages each read them."""
    count: int
    """How many there are."""


class Engine(Protocol):
    """One rank's part of the model and of the optimizer. Every method must be called by all."""

    @property
    def norm(self) -> float:
        """Norm of all gradients in the last step, before clipping.

        NaN if it is no finite number; 0 if it was not computed, as where one of fp16 overflowed.
        """
        ...

    @property
    def loss_scale(self) -> float:
        """What the loss is multiplied with before the backward pass; 1 but for fp16."""
        ...

    def forward_backward(self, work: Work, rate: float) -> list[torch.Tensor]:
        """Forget old gradients and make those of ``work``; the update will use the learning rate.

        Returns the mean loss of each micro-batch, in nats; empty but on the last stage.
        """
        ...

    def update(self) -> bool:
        """Change the weights, if the gradients' norm is a finite number.

        Whether a gradient of fp16 has overflowed: the weights are as they were, the loss scale is
        lower.
        """
        ...

    def pass_over(self) -> None:
        """Forget the gradients: the weights stay as they are."""
        ...

    def evaluate(self, work: Work) -> list[torch.Tensor]:
        """The losses of ``work`` as above, without dropout and gradients."""
        ...

    def part(self, folder: Path, facts: dict[str, Any]) -> Part:
        """What this rank has to write of the state, not yet written.

        Args:
            folder: of the checkpoint, where the files go.
            facts: the same on every rank, kept beside the state.
        """
        ...

    def restore(self, path: Path) -> dict[str, Any]:
        """Put back the state from a checkpoint; the facts that were kept beside it.

        Raises:
            RunError: if it was written by another engine, or with another kind of optimizer.
        """
        ...
