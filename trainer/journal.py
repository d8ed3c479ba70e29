"""What the leading rank writes and shows while a run goes on."""

from pathlib import Path
from typing import TextIO

from llmtrain.config.recipe import Recipe
from llmtrain.trainer.agreement import Agreed
from llmtrain.trainer.device import Device
from llmtrain.trainer.progress import Line
from llmtrain.trainer.records import Metrics, Row, event
from llmtrain.trainer.step import Outcome
from llmtrain.trainer.validation import ValidationRow


class Journal:
    """The records and the progress line of one run."""

    def __init__(
        self, folder: Path, recipe: Recipe, device: Device, terminal: TextIO, done: int, steps: int
    ) -> None:
        """Begin, or go on after ``done`` of ``steps`` steps."""
        self._folder, self._device = folder, device
        self._tokens = recipe.batch.global_ * recipe.model.seq
        self._metrics = Metrics(folder)
        self._line = Line(terminal, recipe.run_name, done, steps)
        event(folder, "resumed" if done else "started", done, steps=steps, ranks=recipe.gpus)

    def step(self, done: int, outcome: Outcome, agreed: Agreed, seconds: float) -> None:
        """Write and show a step that took ``seconds``."""
        row = Row(
            step=done,
            loss=agreed.loss,
            grad_norm=outcome.grad_norm,
            learning_rate=outcome.learning_rate,
            step_seconds=seconds,
            tokens_per_second=self._tokens / seconds,
            memory_bytes=self._device.memory_bytes(),
        )
        self._metrics.write(row)
        self._line.show(row)

    def validated(self, row: ValidationRow) -> None:
        """Write and show a validation."""
        self._metrics.write(row)
        self._line.say(f"step {row.step}  validation loss {row.validation_loss:.4f}")

    def saved(self, done: int, path: Path, seconds: float) -> None:
        """A checkpoint is complete."""
        event(self._folder, "checkpoint", done, name=path.name, seconds=round(seconds, 3))

    def close(self, done: int, how: str) -> None:
        """The run is ``finished`` or ``stopped``."""
        self._metrics.close()
        self._line.close()
        event(self._folder, how, done)
