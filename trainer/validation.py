"""The loss on tokens that are not trained on."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
import torch.distributed as dist

from llmtrain.trainer.batches import MicroBatch
from llmtrain.trainer.engine import Work
from llmtrain.trainer.step import Stepper
from llmtrain.trainer.tokens import Samples, held_out


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
        work = Work(read=self._read, count=self._count())
        return self._mean(self.stepper.engine.evaluate(work))

    def _count(self) -> int:
        """Micro-batches of each replica."""
        recipe, dp = self.stepper.recipe, self.stepper.position.dp_size
        return held_out(recipe) // (recipe.batch.micro * dp)

    def _read(self) -> Iterator[MicroBatch] | None:
        samples = self.stepper.batches.sets.validation
        return self._batches(samples) if self.stepper.position.reads_tokens and samples else None

    def _batches(self, samples: Samples) -> Iterator[MicroBatch]:
        """This replica's, which follow one another as in training: all samples once."""
        micro, position = self.stepper.recipe.batch.micro, self.stepper.position
        for number in range(self._count()):
            first = (number * position.dp_size + position.dp) * micro
            yield self.stepper.batches.read(samples, range(first, first + micro))

    def _mean(self, losses: list[torch.Tensor]) -> float:
        """Over all replicas, known to all ranks."""
        position = self.stepper.position
        total = torch.zeros(1, dtype=torch.float64, device=self.stepper.batches.device)
        if position.reports_loss:
            total += torch.stack(losses).double().mean() / position.dp_size
        dist.all_reduce(total)
        return float(total)
