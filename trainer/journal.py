"""What the leading rank writes and shows while a run goes on."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from llmtrain.config.recipe import Recipe
from llmtrain.trainer.agreement import Agreed
from llmtrain.trainer.guard import Verdict
from llmtrain.trainer.life import Life
from llmtrain.trainer.pending import Saved
from llmtrain.trainer.places import Place
from llmtrain.trainer.progress import Line
from llmtrain.trainer.records import Compute, Metrics, Row, event
from llmtrain.trainer.step import Outcome
from llmtrain.trainer.stragglers import Slow, Stragglers
from llmtrain.trainer.validation import ValidationRow


class Journal:
    """The records and the progress line of one run."""

    def __init__(
        self, folder: Path, recipe: Recipe, places: Sequence[Place], terminal: TextIO, steps: int
    ) -> None:
        """Begin or go on; ``places`` are those of the ranks, ``steps`` those of the run."""
        self._folder, self._steps = folder, steps
        self._stages = tuple(place.stage for place in places)
        self._stragglers = Stragglers(recipe.straggler, places)
        self._life = Life.read(folder)
        self._line = Line(terminal, recipe.run_name, steps)
        self._metrics = Metrics(folder, recipe, self._line.say)

    def begin(self, done: int) -> None:
        """The run begins, or goes on after ``done`` steps."""
        kind = "resumed" if done else "started"
        self.note(kind, done, life=self._life.number, steps=self._steps, ranks=len(self._stages))
        self._line.begin(done)

    def step(self, done: int, outcome: Outcome, agreed: Agreed, seconds: float) -> None:
        """Write and show a step that took ``seconds``.

        Raises:
            Superseded: if the run has gone on without this process.
        """
        self._life.require()
        row = Row(
            step=done,
            loss=agreed.loss,
            grad_norm=outcome.grad_norm,
            learning_rate=outcome.learning_rate,
            step_seconds=seconds,
            tokens_per_second=outcome.tokens / seconds,
            memory_bytes=max(agreed.memory_bytes),
            stage_memory_bytes=self._by_stage(agreed.memory_bytes),
            compute_seconds=Compute.of(agreed.compute_seconds),
        )
        if outcome.overflowed:
            self.note("overflow", done, loss_scale=outcome.loss_scale)
        self._metrics.write(row)
        self._line.show(row)
        for slow in self._stragglers.look(agreed.compute_seconds):
            self._slow(done, slow)

    def _slow(self, step: int, slow: Slow) -> None:
        times = slow.seconds / slow.usual_seconds
        where = f"rank {slow.rank} on {slow.node}"
        self._line.say(f"{where} computes {times:.1f} times as long as its stage")
        self.note("straggler", step, **asdict(slow))

    def validated(self, row: ValidationRow) -> None:
        """Write and show a validation."""
        self._metrics.write(row)
        self._line.say(f"step {row.step}  validation loss {row.validation_loss:.4f}")

    def _by_stage(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        most = [0] * (max(self._stages) + 1)
        for stage, size in zip(self._stages, sizes, strict=True):
            most[stage] = max(most[stage], size)
        return tuple(most)

    def saved(self, saved: Saved) -> None:
        """A checkpoint is complete, or could not be written."""
        times = {
            "seconds": round(saved.seconds, 3),
            "blocked_seconds": round(saved.blocked_seconds, 3),
        }
        if saved.error is None:
            self.note("checkpoint", saved.step, name=saved.name, **times)
            return
        self._line.say(f"{saved.name} could not be written: {saved.error}")
        self.note("checkpoint_failed", saved.step, name=saved.name, error=saved.error, **times)

    def damaged(self, name: str, wrong: str) -> None:
        """A checkpoint is not what was written, and the one before it is taken."""
        self._line.say(f"warning: {name} is damaged and set aside: {wrong}")
        self.note("checkpoint_damaged", None, name=name, error=wrong)

    def passed_over(self, step: int, verdict: Verdict, back: int | None) -> None:
        """A step did not change the weights; ``back``: those of this step are back."""
        self._line.say(f"{verdict.says}: {verdict.action}")
        more = {"cause": verdict.cause, "says": verdict.says, "to": back}
        self.note("guard", step, action=verdict.action, **more)

    def note(self, kind: str, step: int | None, **more: Any) -> None:
        """Append to events.jsonl."""
        event(self._folder, kind, step, **more)

    def close(self) -> None:
        """Hand over what is still held back."""
        self._metrics.close()
        self._line.close()
