"""What to do about a failure: the edit of the recipe that helps, if one is known to."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from llmtrain.config.change import Changes, as_overrides, changed_if_valid
from llmtrain.config.errors import LlmtrainError, Repair
from llmtrain.config.files import read_recipe
from llmtrain.config.recipe import Recipe
from llmtrain.planner.mending import is_expressible
from llmtrain.planner.plan import make_plan
from llmtrain.runs.state import State
from llmtrain.runs.why.cause import Cause
from llmtrain.runs.why.patterns import book

GIB = 2**30
WORTH = 0.98
"""A change that saves less does not help."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """What to do about a cause."""

    title: str
    """The class in words."""
    do: str
    """What to do."""
    restart: bool
    """Whether going on, as it is, can help."""
    exclude: str | None
    """The node to leave out."""
    edit: Repair | None
    """A change of the recipe that lowers the planned peak, where memory ran out."""


UNKNOWN = "no line of the logs is a failure that is known here; read the end of each rank's log"


WELL = {
    "prepared": "it has not started",
    "queued": "it waits in the queue",
    "starting": "it is starting",
    "running": "it is running, step {step} of {steps}",
    "finished": "it has finished, step {step} of {steps}",
    "stopped": "it was stopped, step {step} of {steps}",
}
"""By status, how a run stands of which no line is a failure; of the others one may be missing."""


def standing(cause: Cause, state: State) -> Cause:
    """Nothing has failed where no line is a failure and the run has not begun, or goes on."""
    return replace(cause, kind="none") if cause.hit is None and state.status in WELL else cause


def advise(cause: Cause, folder: Path | None = None, state: State | None = None) -> Advice:
    """What to do about ``cause``; ``folder``: the run's, if it is one; ``state``: how it stands."""
    if cause.hit is None:
        nothing = cause.kind == "none"
        title = "nothing failed" if nothing else "unknown"
        if nothing and state is not None and state.status in WELL:
            how = WELL[state.status].format(step=state.step, steps=state.steps or "?")
            title += f": {how}"
        do = "" if nothing else UNKNOWN
        return Advice(title=title, do=do, restart=False, exclude=None, edit=None)
    known, pattern = book().classes[cause.kind], cause.hit.pattern
    leave = known.exclude if pattern.exclude is None else pattern.exclude
    on_host = " (host memory)" if pattern.device == "host" else ""
    when = f" ({cause.phase})" if cause.phase else ""
    return Advice(
        title=f"{known.title}{on_host}{when}",
        do=pattern.do or known.do,
        restart=known.restart,
        exclude=cause.host if leave else None,
        edit=_edit(folder) if cause.kind == "out_of_memory" and folder else None,
    )


def _edit(folder: Path) -> Repair | None:
    """The first change, in the order of what it costs, that lowers the planned peak."""
    try:
        recipe = read_recipe(folder / "recipe.yaml")
        before = make_plan(recipe).peak_memory_bytes
    except (LlmtrainError, OSError):
        return None
    for change in _changes(recipe):
        peak = _peak(recipe, change)
        if peak is not None and peak < WORTH * before:
            why = f"planned peak {peak / GIB:.1f} instead of {before / GIB:.1f} GiB a rank"
            return Repair(overrides=as_overrides(change), why=why)
    return None


def _changes(recipe: Recipe) -> Iterator[Changes]:
    """What lowers the memory of a rank and leaves the experiment as it is."""
    if recipe.optim.zero == 0:
        yield {"optim.zero": 1}
    if recipe.parallel.tp > 1 and not recipe.parallel.sequence:
        yield {"parallel.sequence": True}
    if recipe.recompute.kind == "none":
        yield {"recompute.kind": "selective"}
    if recipe.batch.micro > 1:
        yield {"batch.micro": recipe.batch.micro // 2}
    if recipe.recompute.kind != "full":
        yield {"recompute.kind": "full"}


def _peak(recipe: Recipe, change: Changes) -> int | None:
    """Planned bytes of the worst rank; None where the change is not valid."""
    new = changed_if_valid(recipe, change)
    try:
        return make_plan(new).peak_memory_bytes if new and is_expressible(new) else None
    except LlmtrainError:
        return None
