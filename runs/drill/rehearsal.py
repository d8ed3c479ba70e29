"""The rehearsal: a small run is disturbed again and again, and must go on each time."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmtrain.config.errors import RunError
from llmtrain.runs.drill.hands import Hands
from llmtrain.runs.drill.scaled import small
from llmtrain.runs.logs import node_of
from llmtrain.runs.progress import all_losses, life, newest_checkpoint, steps_of

POLL_SECONDS = 0.2
WARNING = "the time limit"
"""What comes with a warning."""
FURTHER = 3
"""Steps behind a checkpoint before the next fault: so many are trained again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rehearsed:
    """One fault, and what became of it."""

    name: str
    """What was done."""
    passed: bool
    """The run went on from its newest checkpoint, a newer one than the life before had loaded, and
    after a warning one that was made then."""
    saved: int
    """Step of the newest checkpoint when the next life began."""
    loaded: int | None
    """Step that the next life went on from; None: it did not go on."""
    lead_seconds: float | None
    """From the warning to the checkpoint; None: there was none of them."""
    seconds: float
    """From the fault to the first step of the next life."""
    says: str
    """What went wrong."""

    def as_json(self) -> dict[str, Any]:
        """The same for ``--json``."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The disturbed run against one that was not disturbed."""

    steps: int
    """Steps that both have."""
    difference: float
    """Largest difference of their losses, of the repeated steps too; nats per token."""
    noise: float
    """The same over the steps before the first fault: what two runs differ by without one."""

    @property
    def allowed(self) -> float:
        """How far a resume may be off: several times the noise, within bounds."""
        rules = small().tolerance
        return min(rules["most"], max(rules["least"], rules["times"] * self.noise))

    @property
    def exact(self) -> bool:
        """Whether every loss is the same number."""
        return self.difference == 0


class Rehearsal:
    """Over one run."""

    def __init__(self, folder: Path, hands: Hands, say: Callable[[str], None]) -> None:
        """Nothing is started yet."""
        self._folder, self._hands, self._say = folder, hands, say
        self._loaded = 0
        self._unharmed: int | None = None

    def faults(self, ranks: int, nodes: int) -> Iterator[Rehearsed]:
        """Start the run and make one fault after the other; the last one ends it."""
        hands = self._hands
        self._say("starting the run")
        hands.start()
        last = ranks - 1
        acts: list[tuple[str, Callable[[], None]]] = [
            (WARNING, hands.warn),
            (f"kill -9 of rank {last}", lambda: hands.kill_rank(last)),
        ]
        if nodes > 1:
            acts.append(
                ("kill -9 of all on one node", lambda: hands.kill_node(node_of(self._folder, last)))
            )
        acts.append(("requeue", hands.interrupt))
        for name, act in acts:
            found = self._rehearse(name, act)
            yield found
            if not found.passed:
                break
        hands.end()

    def _rehearse(self, name: str, act: Callable[[], None]) -> Rehearsed:
        self._until(self._far_enough, f"a checkpoint before: {name}")
        self._say(f"rehearsing: {name}")
        if self._unharmed is None:
            self._unharmed = max(steps_of(self._folder))
        begun = time.monotonic()
        saved, when = self._next_life(act, begun)
        rows = len(steps_of(self._folder))
        self._until(lambda: len(steps_of(self._folder)) > rows, "a step of the next life")
        loaded = steps_of(self._folder)[rows] - 1
        says = self._wrong(loaded, saved, warned=name == WARNING and when is None)
        self._loaded = loaded
        return Rehearsed(
            name=name,
            passed=not says,
            saved=saved,
            loaded=loaded,
            lead_seconds=when - begun if name == WARNING and when else None,
            seconds=time.monotonic() - begun,
            says=says,
        )

    def _next_life(self, act: Callable[[], None], begun: float) -> tuple[int, float | None]:
        """Act, and wait for it: the newest checkpoint then, and since when, if it is a new one."""
        known = life(self._folder)
        before = saved = newest_checkpoint(self._folder)
        when = None
        act()
        while life(self._folder) == known:
            if newest_checkpoint(self._folder) != saved:
                saved, when = newest_checkpoint(self._folder), time.monotonic()
            if not self._hands.goes_on():
                self._hands.start()
            self._patience(begun, "the next life")
            time.sleep(POLL_SECONDS)
        saved = newest_checkpoint(self._folder)
        return saved, (when or time.monotonic()) if saved != before else when

    def _wrong(self, loaded: int, saved: int, *, warned: bool) -> str:
        """What went wrong; ``warned``: in vain."""
        if warned:
            return f"no checkpoint followed the warning: step {saved} was saved before it"
        if loaded == saved > self._loaded:
            return ""
        return f"step {loaded} was loaded, not {saved}"

    def compare(self, undisturbed: Path, hands: Hands) -> Comparison:
        """Train the same steps in a run of its own, without a fault."""
        self._say("training the same steps without a fault")
        most = max(steps_of(self._folder))
        other = Rehearsal(undisturbed, hands, self._say)
        hands.start()
        other._until(lambda: max(steps_of(undisturbed), default=0) >= most, f"step {most}")
        hands.end()
        mine, others = all_losses(self._folder), all_losses(undisturbed)
        common = [step for step in mine if step in others]
        apart = {step: [abs(loss - others[step][-1]) for loss in mine[step]] for step in common}
        before = [each[0] for step, each in apart.items() if step <= (self._unharmed or 0)]
        return Comparison(
            steps=len(common),
            difference=max(map(max, apart.values()), default=float("inf")),
            noise=max(before, default=0.0),
        )

    def _far_enough(self) -> bool:
        saved = newest_checkpoint(self._folder)
        return saved > self._loaded and max(steps_of(self._folder), default=0) >= saved + FURTHER

    def _until(self, happens: Callable[[], bool], what: str) -> None:
        begun = time.monotonic()
        while not happens():
            if not self._hands.goes_on():
                raise RunError(f"{self._folder.name} has ended before {what}")
            self._patience(begun, what)
            time.sleep(POLL_SECONDS)

    def _patience(self, begun: float, what: str) -> None:
        if time.monotonic() - begun > small().wait_seconds:
            raise RunError(f"{what} has not come in {small().wait_seconds:.0f} s")
