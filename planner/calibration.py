"""Corrections that were measured: found by cluster and program, applied to nothing else."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from llmtrain.config.build import build
from llmtrain.config.calibration import Calibration
from llmtrain.config.errors import Problem, RecipeError
from llmtrain.config.recipe import Recipe
from llmtrain.config.search import search_path
from llmtrain.planner.programs import constant
from llmtrain.planner.stacks import Stack, chosen_stack

FOLDER = "calibration"
"""Where they lie, below each folder of the search path."""
NONE = Calibration()


def measured_on(recipe: Recipe, stack: str | None = None) -> dict[str, str]:
    """What a correction belongs to: that of the recipe, or of it with another stack."""
    return {
        "cluster": recipe.cluster.name,
        "gpu": recipe.cluster.gpu.name,
        "backend": recipe.backend.name,
        "stack": stack or chosen_stack(recipe),
        "precision": recipe.precision.kind,
    }


def applies(recipe: Recipe, stack: str | None = None) -> bool:
    """Whether the recipe's correction was measured on what the recipe runs on."""
    own = recipe.calibration
    if not own.use or own == NONE:
        return False
    return all(getattr(own, name) == value for name, value in measured_on(recipe, stack).items())


def calibrated(recipe: Recipe, folders: Sequence[Path] = ()) -> Recipe:
    """The recipe with the correction that the user's folders hold for it, if there is one.

    One that the recipe names itself is left alone, and ``calibration.use=false`` leaves out all.

    Raises:
        RecipeError: if a file in ``calibration/`` cannot be read.
    """
    if recipe.calibration != NONE:
        return recipe
    wanted = measured_on(recipe)
    for path in search_path(folders).options(FOLDER).values():
        found = read_calibration(path)
        if all(getattr(found, name) == value for name, value in wanted.items()):
            return replace(recipe, calibration=found)
    return recipe


def read_calibration(path: Path) -> Calibration:
    """A file that ``llmtrain calibrate`` wrote.

    Raises:
        RecipeError: if it cannot be read, or says what is none.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        return build(Calibration, data if isinstance(data, dict) else {})
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RecipeError(f"cannot read {path}: {error}") from error
    except RecipeError as error:
        problems = [replace(problem, where=str(path)) for problem in error.problems]
        raise RecipeError(problems) from error


def calibrated_stack(recipe: Recipe, stack: Stack) -> Stack:
    """The stack with the measured factor, and the error that is left."""
    if not applies(recipe, stack.name):
        return stack
    own = recipe.calibration
    error = stack.error if own.step_error is None else own.step_error
    return replace(stack, measured=own.step_factor, error=error)


def memory_factor(recipe: Recipe) -> float:
    """On what is neither weights nor gradients nor optimizer, nor the same at every moment."""
    return recipe.calibration.memory_factor if applies(recipe) else 1.0


def memory_error(recipe: Recipe) -> float:
    """Relative error of the memory: a plan that is nearer to the capacity is tight."""
    own = recipe.calibration.memory_error if applies(recipe) else None
    return constant("error_band") if own is None else own


def calibration_json(recipe: Recipe) -> dict[str, Any] | None:
    """The key of ``plan --json``; null: nothing is corrected."""
    if not applies(recipe):
        return None
    return {name: value for name, value in asdict(recipe.calibration).items() if name != "use"}


def calibration_warnings(recipe: Recipe) -> tuple[Problem, ...]:
    """A correction that the recipe names and that is not for it."""
    own = recipe.calibration
    if not own.use or own == NONE or applies(recipe):
        return ()
    wanted = measured_on(recipe)
    other = [f"{n} {getattr(own, n)!r}" for n in wanted if getattr(own, n) != wanted[n]]
    says = f"is not applied: it was measured on {', '.join(other)}"
    return (Problem(code="other_calibration", key="calibration", says=says),)
