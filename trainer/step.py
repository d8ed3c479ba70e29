"""One optimizer step."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from megatron.core import parallel_state, tensor_parallel
from megatron.core.distributed import DistributedDataParallel
from megatron.core.pipeline_parallel import get_forward_backward_func

from llmtrain.config.recipe import Recipe
from llmtrain.trainer.batches import Batches, MicroBatch
from llmtrain.trainer.groups import Position
from llmtrain.trainer.guard import GuardedOptimizer
from llmtrain.trainer.optimizer import one_or_all
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
    chunks: list[DistributedDataParallel]
    """This rank's part of the model, wrapped; several with virtual stages."""
    optimizer: GuardedOptimizer
    """Over all chunks."""
    batches: Batches
    """This rank's micro-batches."""

    def step(self, done: int, admit: Callable[[float], bool]) -> Outcome:
        """Train on the batch of the step after ``done`` steps.

        ``admit`` is called with the loss that this rank has to add (0 where it does not compute
        it) when the gradients are there; where it says no, the weights stay as they are.
        """
        rate = learning_rate(done, self.steps, self.recipe.optim, self.recipe.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self._seed(done)
        for chunk in self.chunks:
            chunk.zero_grad_buffer()
        self.optimizer.zero_grad()
        loss_scale = float(self.optimizer.get_loss_scale())
        losses = self._forward_backward(done)
        loss = self._mean(losses)
        grad_norm, overflowed = self._update() if admit(loss) else (math.nan, False)
        return Outcome(
            loss=loss,
            grad_norm=grad_norm,
            learning_rate=rate,
            tokens=self.batches.tokens(done),
            overflowed=overflowed,
            loss_scale=loss_scale,
        )

    def _update(self) -> tuple[float, bool]:
        """Change the weights; norm of the gradients, and whether one of fp16 has overflowed."""
        _, grad_norm, _ = self.optimizer.step()
        return (math.nan, True) if grad_norm is None else (float(grad_norm), False)

    def _seed(self, done: int) -> None:
        """Make dropout a function of seed, step and rank: a resume then has no state to restore.

        megatron-core itself tells the tensor parallel ranks apart where it must.
        """
        if self.recipe.model.dropout:
            place = self.position
            name = f"dropout:{done}:{place.pp}:{place.dp}:{place.cp}"
            seed = generator(self.recipe.run.seed, name).initial_seed() % 2**31
            tensor_parallel.model_parallel_cuda_manual_seed(seed)

    def _forward_backward(self, done: int) -> list[torch.Tensor]:
        recipe = self.recipe
        reports: list[dict[str, torch.Tensor]] = get_forward_backward_func()(
            forward_step_func=forward,
            data_iterator=one_or_all([self._data(done) for _ in self.chunks]),
            model=one_or_all(self.chunks),
            num_microbatches=self.batches.count(done),
            seq_length=recipe.model.seq,
            micro_batch_size=recipe.batch.micro,
            forward_only=False,
        )
        return [report["loss"] for report in reports]

    def _data(self, done: int) -> Iterator[MicroBatch] | None:
        """Stages in the middle see no tokens."""
        ends = self.position.first_stage or self.position.last_stage
        return self.batches.step(done) if ends else None

    def _mean(self, losses: list[torch.Tensor]) -> float:
        if not self.position.reports_loss:
            return 0.0
        return float(torch.stack(losses).double().mean())


Report = dict[str, torch.Tensor]
"""What the schedule hands back for each micro-batch."""


def forward(
    data: Iterator[MicroBatch] | None, model: Any
) -> tuple[torch.Tensor, Callable[[torch.Tensor], tuple[torch.Tensor, Report]]]:
    """One micro-batch through this stage, as megatron-core's schedules call it."""
    if data is None:
        return model(input_ids=None, position_ids=None, attention_mask=None), mean_loss
    batch = next(data)
    output = model(
        input_ids=batch.tokens,
        position_ids=batch.positions,
        attention_mask=None,
        labels=batch.labels,
    )
    return output, mean_loss


def mean_loss(losses: torch.Tensor) -> tuple[torch.Tensor, Report]:
    """Mean over the tokens of a micro-batch; every token counts, so means of means are the mean.

    Under context parallel each rank has its part of the mean: the schedule takes it for a sum.
    """
    loss = losses.float().mean() / parallel_state.get_context_parallel_world_size()
    # A copy: the schedule divides the loss in place.
    return loss, {"loss": loss.detach().clone()}
