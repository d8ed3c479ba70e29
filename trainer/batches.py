"""Which samples a rank computes, and the tensors they become."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from llmtrain.config.layout import step_samples
from llmtrain.config.recipe import Recipe
from llmtrain.trainer.device import Device
from llmtrain.trainer.groups import Position
from llmtrain.trainer.sequence import places
from llmtrain.trainer.tokens import Samples, Sets


@dataclass(frozen=True, kw_only=True, slots=True)
class MicroBatch:
    """What one forward pass reads; each is (micro, seq / cp) of int64."""

    tokens: torch.Tensor
    """What is read."""
    labels: torch.Tensor
    """What is to be foretold: the tokens, one further on."""
    positions: torch.Tensor
    """Places in the sequence, from 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """The same samples in the same step whatever the layout.

    Micro-batch j of replica r takes the ``micro`` from (j x dp + r) x micro of those of the step.
    """

    micro: int
    """Sequences of a micro-batch."""
    dp: int
    """Replicas."""

    def numbers(self, step: range, microbatch: int, replica: int) -> range:
        """Sample numbers of one micro-batch, of those of its step."""
        first = (microbatch * self.dp + replica) * self.micro
        return step[first : first + self.micro]

    def microbatches(self, step: range) -> int:
        """Micro-batches of a step on each replica."""
        return len(step) // (self.micro * self.dp)


@dataclass(frozen=True, kw_only=True, slots=True)
class Batches:
    """The micro-batches of this rank."""

    recipe: Recipe
    """What is trained; on a batch ramp a step's size depends on the steps before it."""
    sets: Sets
    """All samples of the run."""
    order: Order
    """Which of them belong to a step."""
    replica: int
    """This rank's number among the replicas."""
    positions: torch.Tensor
    """Position numbers of this rank's part of a sequence, the same for every micro-batch."""
    device: torch.device
    """Where the tensors go."""

    def count(self, done: int) -> int:
        """Micro-batches of the step after ``done`` steps."""
        return self.order.microbatches(step_samples(self.recipe, done))

    def tokens(self, done: int) -> int:
        """Tokens of that step, of all replicas."""
        return len(step_samples(self.recipe, done)) * self.recipe.model.seq

    def step(self, done: int) -> Iterator[MicroBatch]:
        """The micro-batches of that step."""
        return self.of(self.sets.training, step_samples(self.recipe, done))

    def of(self, samples: Samples, step: range) -> Iterator[MicroBatch]:
        """The micro-batches of a step on these ``samples``."""
        for microbatch in range(self.order.microbatches(step)):
            yield self._read(samples, self.order.numbers(step, microbatch, self.replica))

    def _read(self, samples: Samples, numbers: range) -> MicroBatch:
        rows = [samples[number] for number in numbers]
        return MicroBatch(
            tokens=self._part([row["tokens"] for row in rows]),
            labels=self._part([row["labels"] for row in rows]),
            positions=self.positions,
        )

    def _part(self, rows: list[torch.Tensor]) -> torch.Tensor:
        """This rank's part of whole sequences."""
        whole = torch.stack(rows).to(self.device, non_blocking=True)
        return whole if self.positions.shape == whole.shape else whole[:, self.positions[0]]


def batches(recipe: Recipe, position: Position, device: Device, sets: Sets) -> Batches:
    """The micro-batches of the rank at ``position``."""
    micro = recipe.batch.micro
    mine = places(position.cp, position.cp_size, recipe.model.seq // position.cp_size)
    positions = mine.to(device.torch).expand(micro, -1).contiguous()
    return Batches(
        recipe=recipe,
        sets=sets,
        order=Order(micro=micro, dp=position.dp_size),
        replica=position.dp,
        positions=positions,
        device=device.torch,
    )
