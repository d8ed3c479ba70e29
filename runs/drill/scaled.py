"""A recipe made so small that it can be rehearsed: the same site, cluster, backend and scripts."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from llmtrain.config.build import build, plain
from llmtrain.config.recipe import Recipe
from llmtrain.config.yaml_reader import read_yaml
from llmtrain.planner.plan import Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Small:
    """The content of small.yaml."""

    nodes: int
    """At the most."""
    steps: int
    """Of the run; a drill ends it before."""
    interval: int
    """Steps between two checkpoints."""
    microbatches: int
    """Of each replica in a step."""
    wait_seconds: float
    """For the queue and the start of the ranks, each time."""
    model: dict[str, Any]
    """Keys of the model that are replaced."""
    hang: dict[str, Any]
    """Keys of ``hang``."""
    tolerance: dict[str, float]
    """``times`` the noise, but ``least`` and ``most`` in nats: how far losses may be apart."""


@cache
def small() -> Small:
    """small.yaml."""
    text = files("llmtrain.runs.drill").joinpath("small.yaml").read_text(encoding="utf-8")
    return Small(**read_yaml(text))


def scaled(plan: Plan) -> Recipe:
    """The recipe of ``plan`` on one or two of its nodes, with a small model and made-up tokens.

    Raises:
        RecipeError: if that is no valid recipe.
    """
    recipe, size = plan.recipe, small()
    gpus = min(size.nodes, plan.nodes) * plan.ranks_per_node
    most = min(recipe.parallel.tp, plan.ranks_per_node, size.model["heads"])
    tp = max(count for count in range(1, most + 1) if not (gpus % count or most % count))
    data = plain(recipe)
    slurm: dict[str, Any] = {"groups": [], "partitions": [], "segment": None, "switches": None}
    data |= {
        "gpus": gpus,
        "tokens": None,
        "model": data["model"] | size.model | {"name": "drill"},
        "parallel": {"tp": tp, "sequence": recipe.parallel.sequence and tp > 1},
        "batch": {"micro": 1, "global": gpus // tp * size.microbatches},
        "schedule": {"kind": "constant"},
        "data": {"kind": "mock"},
        "checkpoint": data["checkpoint"] | {"interval": size.interval, "keep": 3},
        "run": {"name": f"drill-{recipe.run_name}", "steps": size.steps, "seed": recipe.run.seed},
        "site": data["site"] | {"slurm": data["site"]["slurm"] | slurm},
        "kernels": data["kernels"] | {"dispatcher": "alltoall"},
        "log": {"tensorboard": False},
        "hang": size.hang,
        "nodes": {"spare": 0},
    }
    for group in ("recompute", "profile", "guard"):
        del data[group]
    return build(Recipe, data)
