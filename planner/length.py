"""How long a run computes: its steps, the batch ramp's included, failures left out."""

from dataclasses import dataclass, replace

from llmtrain.config.layout import data_parallel, ramp_steps, total_steps
from llmtrain.config.recipe import Recipe
from llmtrain.planner.checkpoints import DAY
from llmtrain.planner.costs import Case
from llmtrain.planner.curves import curves_of
from llmtrain.planner.stacks import chosen_stack, stack_of
from llmtrain.planner.step import StepTime, case_of, step_time


@dataclass(frozen=True, kw_only=True, slots=True)
class Length:
    """A run without failures."""

    seconds: float
    """All steps."""
    steps: int
    """How many."""
    error: float
    """Relative error of the step time."""
    gpus: int
    """GPUs that compute."""

    @property
    def days(self) -> float:
        """All steps."""
        return self.seconds / DAY

    @property
    def gpu_hours(self) -> float:
        """Of the GPUs that compute."""
        return self.seconds * self.gpus / 3600.0


def steps_by_size(recipe: Recipe) -> tuple[tuple[int, int], ...] | None:
    """Pairs of global batch and steps with it, in turn; None where the length is not given."""
    left = total_steps(recipe)
    if left is None:
        return None
    found = []
    for size, count in ramp_steps(recipe):
        taken = min(count, left)
        found.append((size, taken))
        left -= taken
    return (*found, (recipe.batch.global_, left))


def length_of(recipe: Recipe, stack: str | None = None) -> Length | None:
    """The run's length; None where step time or number of steps is not known.

    Args:
        recipe: what is run.
        stack: the software stack that runs it, where it is not the recipe's (published runs).
    """
    by_size, curves = steps_by_size(recipe), curves_of(recipe.cluster.gpu.arch)
    if by_size is None or curves is None:
        return None
    case = case_of(recipe, curves, stack_of(stack or chosen_stack(recipe)))
    unit = recipe.batch.micro * max(1, data_parallel(recipe))
    counts = [max(1, size // unit) for size, _ in by_size]
    seconds_at, error = _interpolated(case, counts)
    seconds = sum(
        steps * seconds_at[count] for count, (_, steps) in zip(counts, by_size, strict=True)
    )
    total = sum(steps for _, steps in by_size)
    return Length(seconds=seconds, steps=total, error=error, gpus=recipe.gpus)


def _interpolated(case: Case, counts: list[int]) -> tuple[dict[int, float], float]:
    """Step time by micro-batches, and its error.

    From one micro-batch a stage on the step is linear in their number, so two of those are timed.
    """
    straight = sorted({count for count in counts if count >= case.layout.pp})
    ends = {*straight[:1], *straight[-1:]}
    timed = {count: _step(case, count) for count in {*counts} - {*straight} | ends}
    found = {count: float(step.seconds) for count, step in timed.items()}
    if len(ends) == 2:
        low, high = min(ends), max(ends)
        slope = (found[high] - found[low]) / (high - low)
        found |= {count: found[low] + slope * (count - low) for count in straight}
    return found, next(iter(timed.values())).error


def _step(case: Case, count: int) -> StepTime:
    return step_time(replace(case, layout=replace(case.layout, microbatches=count)))
