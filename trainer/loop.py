"""The steps of a run, one after the other, and the checkpoints between them."""

import time
from dataclasses import dataclass

from llmtrain.trainer.agreement import Agreed, agree
from llmtrain.trainer.checkpoint import Checkpoints
from llmtrain.trainer.control import Requests
from llmtrain.trainer.device import Device
from llmtrain.trainer.journal import Journal
from llmtrain.trainer.step import Stepper
from llmtrain.trainer.validation import Validation


@dataclass(frozen=True, kw_only=True, slots=True)
class Loop:
    """One rank's loop."""

    stepper: Stepper
    """Trains one step."""
    checkpoints: Checkpoints
    """Saves the state."""
    requests: Requests
    """What is asked of this rank."""
    device: Device
    """Where the agreement is computed."""
    interval: int | None
    """Steps between two checkpoints; null: only at the end and on request."""
    journal: Journal | None
    """On the leading rank."""
    validation: Validation
    """The loss on tokens that are not trained on."""

    def run(self, done: int) -> None:
        """Train from ``done`` steps to the last, or to a request to stop."""
        steps, stop = self.stepper.steps, False
        while done < steps and not stop:
            agreed = self.step(done)
            done, stop = done + 1, agreed.stop
            self.validate(done)
            due = self.interval is not None and done % self.interval == 0
            if due or agreed.save or agreed.stop or done == steps:
                self._save(done)
                self.requests.done(save=agreed.save, stop=agreed.stop)
        if self.journal:
            self.journal.close(done, "finished" if done >= steps else "stopped")

    def step(self, done: int) -> Agreed:
        """Train one step and write it down."""
        started = time.perf_counter()
        outcome = self.stepper.step(done)
        agreed = agree(outcome, self.stepper.position, self.requests, self.device)
        if self.journal:
            self.journal.step(done + 1, outcome, agreed, time.perf_counter() - started)
        return agreed

    def validate(self, done: int) -> None:
        """Validate and write it down, if it is due after ``done`` steps."""
        row = self.validation.after(done)
        if row and self.journal:
            self.journal.validated(row)

    def _save(self, done: int) -> None:
        started = time.perf_counter()
        path = self.checkpoints.save(done)
        if self.journal:
            self.journal.saved(done, path, time.perf_counter() - started)
