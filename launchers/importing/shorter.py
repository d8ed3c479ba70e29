"""A recipe's keys without those that say what it would have by itself."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from llmtrain.config.build import plain
from llmtrain.config.compose import compose
from llmtrain.config.errors import LlmtrainError, Problem
from llmtrain.config.recipe import Recipe
from llmtrain.launchers.importing.reading import Keys

ORDER = (
    "gpus",
    "tokens",
    "model",
    "backend",
    "parallel",
    "batch",
    "precision",
    "optim",
    "recompute",
    "kernels",
    "schedule",
    "data",
    "checkpoint",
    "run",
    "site",
    "env",
)
"""Keys as recipes write them."""


def composed(data: Keys) -> tuple[Recipe | None, tuple[Problem, ...]]:
    """The recipe that ``data`` is in a file, or why it is none."""
    return _compose(yaml.safe_dump(data, sort_keys=False))


@lru_cache(maxsize=8)
def _compose(text: str) -> tuple[Recipe | None, tuple[Problem, ...]]:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "imported.yaml"
        file.write_text(text, encoding="utf-8")
        try:
            return compose([f"recipe={file}"]), ()
        except LlmtrainError as error:
            return None, tuple(_without_file(problem) for problem in error.problems)


def _without_file(problem: Problem) -> Problem:
    return replace(problem, where="")


def shorter(keys: Keys, head: Keys, recipe: Recipe) -> Keys:
    """Keys whose value is not what the recipe has without them."""
    least = {"gpus": 1, "model": _needed(keys["model"]), "batch": {"global": 1}}
    bare, _ = composed(head | least)
    found = _differing(keys, plain(bare) if bare else {})
    found["model"] = _needed(keys["model"]) | found.get("model", {})
    found["batch"] = {"global": recipe.batch.global_} | found.get("batch", {})
    found["gpus"] = keys["gpus"]
    rendered = _rendered_environment(head, found)
    own = found.get("env", {})
    found["env"] = {name: value for name, value in own.items() if rendered.get(name) != value}
    return {key: found[key] for key in ORDER if found.get(key) not in (None, {}, [])}


def _needed(model: Keys) -> Keys:
    names = ("layers", "hidden", "heads", "vocab", "seq")
    found = {name: model[name] for name in names if name in model}
    return found | {k: model[k] for k in ("experts", "topk", "bias") if k in model}


def _differing(keys: Mapping[str, Any], old: Mapping[str, Any]) -> Keys:
    found: Keys = {}
    for key, value in keys.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping) and key != "env":
            inner = _differing(value, before)
            if inner:
                found[key] = inner
        elif value != before:
            found[key] = value
    return found


def _rendered_environment(head: Keys, found: Keys) -> Mapping[str, str]:
    """What a launch would export without the file's own variables."""
    from llmtrain.launchers.backends import program
    from llmtrain.launchers.environment import environment
    from llmtrain.launchers.launch import Program
    from llmtrain.planner.plan import make_plan

    recipe, _ = composed(head | {k: v for k, v in found.items() if k != "env"})
    if recipe is None:
        return {}
    try:
        plan = make_plan(recipe)
        todo = Program() if plan.errors else program(plan)
    except LlmtrainError:
        todo = Program()
    return {v.name: v.value for v in environment(recipe, todo).variables}
