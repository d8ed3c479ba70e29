"""One optimizer step."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from megatron.core import tensor_parallel

from llmtrain.config.recipe import Recipe
from llmtrain.trainer.batches import Batches, MicroBatch
from llmtrain.trainer.engine import Engine, Work
from llmtrain.trainer.groups import Position
from llmtrain.trainer.schedule import learning_rate
from llmtrain.trainer.weights import generator


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a step gave on this rank."""

    loss: float
    """Mean nats per token of this replica, the sum of what its ranks have here."""
    grad_norm: float
    """Norm of all gradients before clipping; NaN where the step was given up before."""
    learning_rate: float
    """What the step used."""
    tokens: int
    """Tokens of the step, of all replicas."""
    overflowed: bool
    """A gradient of fp16 was too large: the weights were left alone, the loss scale is lowered."""
    loss_scale: float
    """What the loss was multiplied with before the backward pass; 1 but for fp16."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stepper:
    """All that a step needs."""

    recipe: Recipe
    """What is trained."""
    position: Position
    """Where this rank stands."""
    steps: int
    """Steps of the whole run."""
    engine: Engine
    """Has this rank's part of the model."""
    batches: Batches
    """This rank's micro-batches."""

    def step(self, done: int, admit: Callable[[float], bool]) -> Outcome:
        """Train on the batch of the step after ``done`` steps.

        ``admit`` is called with the loss that this rank has to add (0 where it does not compute
        it) when the gradients are there; where it says no, the weights stay as they are.
        """
        rate = learning_rate(done, self.steps, self.recipe.optim, self.recipe.schedule)
        self._seed(done)
        loss_scale = self.engine.loss_scale
        work = Work(read=lambda: self._read(done), count=self.batches.count(done))
        loss = self._mean(self.engine.forward_backward(work, rate))
        norm, overflowed = self._update() if admit(loss) else self._pass_over()
        return Outcome(
            loss=loss,
            grad_norm=norm,
            learning_rate=rate,
            tokens=self.batches.tokens(done),
            overflowed=overflowed,
            loss_scale=loss_scale,
        )

    def _update(self) -> tuple[float, bool]:
        """Norm of the gradients, and whether one of fp16 has overflowed."""
        overflowed = self.engine.update()
        return (math.nan if overflowed else self.engine.norm), overflowed

    def _pass_over(self) -> tuple[float, bool]:
        self.engine.pass_over()
        return math.nan, False

    def _seed(self, done: int) -> None:
        """Make dropout a function of seed, step and rank: a resume then has no state to restore.

        megatron-core itself tells the tensor parallel ranks apart where it must.
        """
        if self.recipe.model.dropout:
            place = self.position
            name = f"dropout:{done}:{place.pp}:{place.dp}:{place.cp}"
            seed = generator(self.recipe.run.seed, name).initial_seed() % 2**31
            tensor_parallel.model_parallel_cuda_manual_seed(seed)

    def _read(self, done: int) -> Iterator[MicroBatch] | None:
        """Stages in the middle see no tokens."""
        return self.batches.step(done) if self.position.reads_tokens else None

    def _mean(self, losses: list[torch.Tensor]) -> float:
        if not self.position.reports_loss:
            return 0.0
        return float(torch.stack(losses).double().mean())
