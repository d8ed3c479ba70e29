"""The loss on tokens that are not trained on."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
import torch.distributed as dist

from llmtrain.trainer.batches import MicroBatch
from llmtrain.trainer.engine import Work
from llmtrain.trainer.step import Stepper
from llmtrain.trainer.tokens import held_out


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationRow:
    """One validation in metrics.jsonl."""

    step: int
    """Steps that were done."""
    validation_loss: float
    """Mean nats per token over all validation batches."""
    validation_seconds: float
    """Wall clock."""

    def scalars(self) -> dict[str, float]:
        """What can be drawn as curves, by name."""
        values = asdict(self)
        del values["step"]
        return values


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """The same samples every time, so the losses of a run, and of runs, can be compared.

    It leaves nothing behind: dropout is seeded anew by each step, and the samples are not counted.
    """

    stepper: Stepper
    """The model, and what it reads."""

    def after(self, done: int) -> ValidationRow | None:
        """Measure if it is due after ``done`` steps; the same on every rank."""
        interval = self.stepper.recipe.data.validation.interval
        if interval is None or (done % interval and done < self.stepper.steps):
            return None
        started = time.perf_counter()
        loss = self._measure()
        seconds = time.perf_counter() - started
        return ValidationRow(step=done, validation_loss=loss, validation_seconds=seconds)

    def _measure(self) -> float:
        batches, position = self.stepper.batches, self.stepper.position
        samples, once = batches.sets.validation, range(held_out(self.stepper.recipe))

        def read() -> Iterator[MicroBatch] | None:
            return batches.of(samples, once) if position.reads_tokens and samples else None

        work = Work(read=read, count=batches.order.microbatches(once))
        return self._mean(self.stepper.engine.evaluate(work))

    def _mean(self, losses: list[torch.Tensor]) -> float:
        """Over all replicas, known to all ranks."""
        position = self.stepper.position
        total = torch.zeros(1, dtype=torch.float64, device=self.stepper.batches.device)
        if position.reports_loss:
            total += torch.stack(losses).double().mean() / position.dp_size
        dist.all_reduce(total)
        return float(total)
