"""The steps of a run, one after the other, and the checkpoints between them."""

import time
from dataclasses import dataclass, field

from llmtrain.config.errors import RunError
from llmtrain.trainer.agreement import Agreed, Said, agree
from llmtrain.trainer.checkpoint import Checkpoints
from llmtrain.trainer.control import Requests
from llmtrain.trainer.device import Device
from llmtrain.trainer.guard import Verdict, Watch
from llmtrain.trainer.journal import Journal
from llmtrain.trainer.memory import Memory
from llmtrain.trainer.profiling import Window
from llmtrain.trainer.step import Stepper
from llmtrain.trainer.validation import Validation
from llmtrain.trainer.waits import Clock
from llmtrain.trainer.watchdog import Watchdog


@dataclass(kw_only=True, slots=True)
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
    """Steps between two checkpoints; None: only at the end and on request."""
    watch: Watch
    """Judges each step."""
    clock: Clock
    """Tells computing from waiting."""
    memory: Memory
    """Counts the bytes of tensors."""
    window: Window
    """The steps that are traced."""
    journal: Journal | None
    """On the leading rank."""
    validation: Validation
    """The loss on tokens that are not trained on."""
    watchdog: Watchdog
    """Is told how far the run is."""

    saved: int = field(default=0, init=False)
    """Steps behind the newest checkpoint that was begun; 0 for none."""
    stop: bool = field(default=False, init=False)
    """No further step is to be trained."""
    _back: tuple[int, int] = field(default=(0, 0), init=False)
    """The last step that went back, and the step whose weights it has brought back."""
    _asked: bool = field(default=False, init=False)
    """The checkpoint under way was asked for through ``control/save``."""

    def load(self) -> int:
        """Restore the newest complete checkpoint; how many steps it has behind it, 0 for none."""
        self.saved = self.checkpoints.load(self.warn)
        if self.saved:
            self.watch.restore(self.checkpoints.more["guard"])
        return self.saved

    def run(self, done: int) -> None:
        """Train from ``done`` steps to the last, or to a request to stop."""
        if self.journal:
            self.journal.begin(done)
        try:
            while done < self.stepper.steps and not self.stop:
                done = self.advance(done)
        finally:
            self._close()
        if self.journal:
            self.journal.note("finished" if done >= self.stepper.steps else "stopped", done)

    def _close(self) -> None:
        self.memory.close()
        self.window.close()
        if self.journal:
            self.journal.close()

    def advance(self, done: int) -> int:
        """One step after ``done`` and what follows from it; how many are then done."""
        self._trace(done + 1)
        self.watchdog.step(done + 1)
        agreed, verdict = self.step(done)
        self.watchdog.stepped(done + 1)
        self._traced(done + 1)
        if verdict:
            self._pass_over(done, verdict)
        self.validate(done + 1)
        self._checkpoint(done + 1, agreed)
        return done + 1

    def step(self, done: int) -> tuple[Agreed, Verdict | None]:
        """Train one step and write it down; what is wrong with it, if something is."""
        started, begun = time.perf_counter(), self.clock.begin()
        heard: list[tuple[Agreed, Verdict | None]] = []

        def admit(loss: float) -> bool:
            agreed = self._agree(loss, self.clock.compute_seconds(begun))
            heard.append((agreed, self.watch.loss(done + 1, agreed.loss)))
            return heard[0][1] is None

        outcome = self.stepper.step(done, admit)
        agreed, verdict = heard[0]
        if self.journal:
            self.journal.step(done + 1, outcome, agreed, time.perf_counter() - started)
        return agreed, verdict or self.watch.gradient(done + 1, self.stepper.engine.norm)

    def validate(self, done: int) -> None:
        """Validate and write it down, if it is due after ``done`` steps."""
        row = self.validation.after(done)
        if row and self.journal:
            self.journal.validated(row)

    def _agree(self, loss: float, compute_seconds: float) -> Agreed:
        said = Said(
            loss=loss,
            save=self.requests.save(),
            stop=self.requests.stop(),
            writing=self.checkpoints.writing,
            compute_seconds=compute_seconds,
            memory_bytes=self.memory.peak(),
        )
        return agree(said, self.stepper.position, self.device)

    def _trace(self, step: int) -> None:
        if self.window.opens(step):
            # Two of torch's profilers cannot be open at once.
            self.memory.close()
        self.window.before(step)

    def _traced(self, step: int) -> None:
        path = self.window.after(step)
        if path and self.journal:
            self.journal.note("profiled", step, file=path.name)

    def _pass_over(self, done: int, verdict: Verdict) -> None:
        """Do what the rules say about the step after ``done`` steps; it did not change weights."""
        back = self._go_back(done + 1) if verdict.action == "rollback" else None
        if self.journal:
            self.journal.passed_over(done + 1, verdict, back)
        if verdict.action == "rollback" and not back:
            raise RunError(f"{verdict.says}, and there is no checkpoint to go back to")
        if verdict.action == "stop":
            self._settle()
            if done > self.saved:
                self._begin(done)
                self._settle()
            hint = f"`guard.{verdict.cause}` can pass over such a step: skip, rollback"
            raise RunError(verdict.says, hint=hint)

    def _go_back(self, step: int) -> int:
        """Restore the newest checkpoint; the steps behind it, 0 where there is none.

        One further where the step before ``step`` went back too: what it found was no good either.
        """
        self._settle()
        last, to = self._back
        below = to if last == step - 1 else None
        self._back = step, self.checkpoints.load(self.warn, below)
        return self._back[1]

    def _checkpoint(self, done: int, agreed: Agreed) -> None:
        """Finish what all ranks have written, and begin what is due after ``done`` steps."""
        last = agreed.stop or done >= self.stepper.steps
        if not agreed.writing:
            self._settle()
        due = self.interval is not None and done % self.interval == 0
        asked = agreed.save and not self._asked
        if due or asked or last:
            self._settle()
            self._begin(done)
            self._asked = agreed.save
            if last or not self.checkpoints.background:
                error = self._settle()
                self._end(agreed, error if last else None)
        self.stop = agreed.stop

    def _end(self, agreed: Agreed, error: str | None) -> None:
        self.requests.done(save=False, stop=agreed.stop)
        if error:
            raise RunError(f"the last checkpoint could not be written: {error}")

    def _begin(self, done: int) -> None:
        self.checkpoints.more["guard"] = self.watch.state()
        self.checkpoints.begin(done)
        self.saved = done

    def _settle(self) -> str | None:
        """Wait for the checkpoint under way, if there is one; why it failed, if it did."""
        if self.checkpoints.pending is None:
            return None
        saved = self.checkpoints.finish()
        if self.journal:
            self.journal.saved(saved)
        self.requests.done(save=self._asked, stop=False)
        self._asked = False
        return saved.error

    def warn(self, name: str, wrong: str) -> None:
        """A checkpoint is not what was written."""
        if self.journal:
            self.journal.damaged(name, wrong)
