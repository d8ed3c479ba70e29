"""Plan against measurement: what some runs show of the plan on their cluster.

A shape is a model in a layout. Runs of one shape say how far the plan is off there, and nothing of
how other shapes differ: the error of the stack's published runs counts as one more shape, so the
range narrows with each shape that is measured, not with each run. The step's factor is that of the
cluster, and wholly measured; memory is much the same everywhere, so there the plan as it stands
counts as one more shape too.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil, exp, log, sqrt
from pathlib import Path
from statistics import fmean, median
from typing import Any

import yaml

from llmtrain.config.build import build, plain
from llmtrain.config.calibration import Calibration
from llmtrain.config.errors import Problem, RunError, UsageError
from llmtrain.config.files import read_recipe
from llmtrain.config.layout import ramp_steps
from llmtrain.config.recipe import Recipe
from llmtrain.planner.calibration import NONE, measured_on
from llmtrain.planner.memory import peak_memory
from llmtrain.planner.programs import constant
from llmtrain.planner.stacks import stack_of
from llmtrain.planner.step import recipe_step
from llmtrain.runs.detail import steady_rows

FEWEST = 8
"""Steps that a run must have, the first of each life left out."""
SHAPE = ("gpus", "model", "parallel", "batch", "recompute", "kernels", "optim")
"""Recipe keys that make a shape."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """Bytes of the fullest rank of a stage."""

    measured: int
    """As the run says."""
    states: int
    """Weights, gradients and optimizer, as planned: they are exact."""
    moving: int
    """What else the allocator counts, as planned."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One run beside the plan that was never corrected."""

    name: str
    """Of the run."""
    setting: Mapping[str, str]
    """Cluster, GPU, program, numbers."""
    shape: str
    """Tells shapes apart."""
    steps: int
    """How many were measured."""
    seconds: float
    """Median of a step."""
    seconds_error: float
    """Standard error of that median."""
    planned: float | None
    """What the plan says; None: nothing is known of the processor."""
    stages: tuple[Stage, ...]
    """Memory by stage; empty: not measured."""

    @property
    def factor(self) -> float | None:
        """Measured over planned."""
        return None if self.planned is None else self.seconds / self.planned


def measure(folder: Path) -> Measured:
    """The run in ``folder``.

    Raises:
        RunError: if it has too few steps to be measured.
    """
    recipe = replace(read_recipe(folder / "recipe.yaml"), calibration=NONE)
    risen = sum(count for _, count in ramp_steps(recipe))
    rows = [row for row in steady_rows(folder) if row.get("step", 0) > risen]
    seconds = [float(row["step_seconds"]) for row in rows if row.get("step_seconds")]
    if len(seconds) < FEWEST:
        says = f"{folder.name} has {len(seconds)} steps to measure; {FEWEST} are needed"
        raise RunError(Problem(code="too_short", says=says))
    step = recipe_step(recipe)
    return Measured(
        name=folder.name,
        setting=measured_on(recipe),
        shape=json.dumps({key: plain(getattr(recipe, key)) for key in SHAPE}, sort_keys=True),
        steps=len(seconds),
        seconds=median(seconds),
        seconds_error=_median_error(seconds),
        planned=None if step is None else float(step.seconds),
        stages=_stages(recipe, rows[-1]),
    )


def _median_error(values: Sequence[float]) -> float:
    """Half of the distance of those that stand sqrt(n) / 2 before and behind the median.

    That is its standard error whatever the distribution, some very slow steps among them: the
    number of values below the true median is binomial with a deviation of sqrt(n) / 2.
    """
    ordered, away = sorted(values), sqrt(len(values)) / 2
    middle = (len(values) - 1) / 2
    return (ordered[ceil(middle + away)] - ordered[int(middle - away)]) / 2


def _stages(recipe: Recipe, row: Mapping[str, Any]) -> tuple[Stage, ...]:
    peaks, measured = peak_memory(recipe), row.get("stage_memory_bytes")
    # Megatron-LM's Adam makes its moments in the first step, after the peak that is reported then.
    if recipe.backend.name == "megatron-lm" and row.get("memory_step") == 1:
        return ()
    if not isinstance(measured, list) or len(measured) != len(peaks):
        return ()
    return tuple(
        Stage(
            measured=int(each),
            states=peak.memory.model_states,
            moving=peak.allocated - peak.memory.model_states,
        )
        for each, peak in zip(measured, peaks, strict=True)
    )


def calibration_of(runs: Sequence[Measured]) -> Calibration:
    """The correction that the runs show.

    Raises:
        UsageError: if they are of several clusters, programs or kinds of numbers.
        RunError: if they show nothing.
    """
    settings = {tuple(run.setting.items()) for run in runs}
    if len(settings) != 1:
        says = f"the runs are of {len(settings)} settings; each is calibrated by itself"
        listed = "; ".join(", ".join(value for _, value in each) for each in sorted(settings))
        raise UsageError(Problem(code="mixed_runs", says=says, hint=listed))
    names, shown = [run.name for run in runs], {**_step(runs), **_memory(runs)}
    if not shown:
        says = "nothing can be corrected: the plan knows no speed of this GPU, the runs no memory"
        raise RunError(Problem(code="nothing_measured", says=says))
    return build(Calibration, {**runs[0].setting, **shown, "runs": names})


def _step(runs: Sequence[Measured]) -> dict[str, float]:
    known = [run for run in runs if run.factor]
    if not known:
        return {}
    shapes = [fmean(log(run.factor or 1) for run in same) for same in _by_shape(known)]
    mean = fmean(shapes)
    noise = sqrt(sum((run.seconds_error / run.seconds) ** 2 for run in known)) / len(known)
    prior = stack_of(known[0].setting["stack"]).error
    spread = sum((each - mean) ** 2 for each in shapes)
    error = sqrt((prior**2 + spread) / len(shapes) + noise**2)
    return {"step_factor": _short(exp(mean)), "step_error": _short(error)}


def _memory(runs: Sequence[Measured]) -> dict[str, float]:
    stages = [stage for run in runs for stage in run.stages]
    moved = sum(stage.measured - stage.states for stage in stages)
    moving = sum(stage.moving for stage in stages)
    if moved <= 0 or moving <= 0:
        return {}
    same_shape = _by_shape([run for run in runs if run.stages])
    factor = 1 + (moved / moving - 1) * len(same_shape) / (len(same_shape) + 1)
    shapes = [
        fmean(_left(stage, factor) ** 2 for run in same for stage in run.stages)
        for same in same_shape
    ]
    error = sqrt((constant("error_band") ** 2 + sum(shapes)) / len(shapes))
    return {"memory_factor": _short(factor), "memory_error": _short(error)}


def _left(stage: Stage, factor: float) -> float:
    """What the correction leaves, over the whole memory of a rank."""
    return stage.measured / (stage.states + factor * stage.moving) - 1


def _by_shape(runs: Iterable[Measured]) -> list[list[Measured]]:
    found: dict[str, list[Measured]] = {}
    for run in runs:
        found.setdefault(run.shape, []).append(run)
    return list(found.values())


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def file_name(found: Calibration) -> str:
    """One for each setting, so that a later calibration replaces it."""
    words = (found.cluster, found.gpu, found.backend, found.stack, found.precision)
    kept = ("".join(c if c.isalnum() or c in "._+-" else "-" for c in word) for word in words)
    return "_".join(kept) + ".yaml"


def as_text(found: Calibration) -> str:
    """The file: keys of the recipe's ``calibration``."""
    data = {name: value for name, value in asdict(found).items() if name != "use"}
    data["runs"] = list(found.runs)
    head = "# What runs showed of the plan here; written by `llmtrain calibrate`.\n"
    return head + yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
