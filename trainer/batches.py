"""Which samples a rank computes, and the tensors they become."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from llmtrain.config.layout import microbatches
from llmtrain.config.recipe import Recipe
from llmtrain.trainer.device import Device
from llmtrain.trainer.groups import Position
from llmtrain.trainer.tokens import Samples, Sets


@dataclass(frozen=True, kw_only=True, slots=True)
class MicroBatch:
    """What one forward pass reads; each is (micro, seq) of int64."""

    tokens: torch.Tensor
    """What is read."""
    labels: torch.Tensor
    """What is to be foretold: the tokens, one further on."""
    positions: torch.Tensor
    """Places in the sequence, from 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """The same samples in the same step whatever the layout.

    Step k takes the samples from k x global; micro-batch j of replica r takes the ``micro`` from
    (j x dp + r) x micro of these.
    """

    micro: int
    """Sequences of a micro-batch."""
    global_: int
    """Sequences of a step."""
    dp: int
    """Replicas."""

    def numbers(self, done: int, microbatch: int, replica: int) -> range:
        """Sample numbers of one micro-batch in the step after ``done`` steps."""
        first = done * self.global_ + (microbatch * self.dp + replica) * self.micro
        return range(first, first + self.micro)


@dataclass(frozen=True, kw_only=True, slots=True)
class Batches:
    """The micro-batches of this rank."""

    sets: Sets
    """All samples of the run."""
    order: Order
    """Which of them belong to a step."""
    replica: int
    """This rank's number among the replicas."""
    microbatches: int
    """Micro-batches of a step."""
    positions: torch.Tensor
    """Position numbers, the same for every micro-batch."""
    device: torch.device
    """Where the tensors go."""

    def step(self, done: int) -> Iterator[MicroBatch]:
        """The micro-batches of the step after ``done`` steps."""
        for microbatch in range(self.microbatches):
            yield self.read(self.sets.training, self.order.numbers(done, microbatch, self.replica))

    def read(self, samples: Samples, numbers: range) -> MicroBatch:
        """A micro-batch of these ``samples``."""
        rows = [samples[number] for number in numbers]
        return MicroBatch(
            tokens=torch.stack([row["tokens"] for row in rows]).to(self.device, non_blocking=True),
            labels=torch.stack([row["labels"] for row in rows]).to(self.device, non_blocking=True),
            positions=self.positions,
        )


def batches(recipe: Recipe, position: Position, device: Device, sets: Sets) -> Batches:
    """The micro-batches of the rank at ``position``."""
    micro = recipe.batch.micro
    positions = torch.arange(recipe.model.seq, device=device.torch).expand(micro, -1).contiguous()
    return Batches(
        sets=sets,
        order=Order(micro=micro, global_=recipe.batch.global_, dp=position.dp_size),
        replica=position.dp,
        microbatches=microbatches(recipe),
        positions=positions,
        device=device.torch,
    )
