"""Recipe -> Plan: one pure function."""

from dataclasses import dataclass, replace
from typing import Any

from llmtrain.config.errors import Problem, RecipeError
from llmtrain.config.layout import (
    Axis,
    axes,
    data_parallel,
    degrees,
    expert_data_parallel,
    microbatches,
    node_count,
    ranks_per_node,
    stage_layers,
    total_steps,
)
from llmtrain.config.recipe import Recipe
from llmtrain.config.repairs import with_repairs
from llmtrain.config.rules import violations
from llmtrain.planner.advice import advice
from llmtrain.planner.calibration import calibration_json, calibration_warnings
from llmtrain.planner.checkpoints import checkpoint_bytes
from llmtrain.planner.deepspeed_memory import host_bytes
from llmtrain.planner.index_cache import index_warnings
from llmtrain.planner.memory import Memory, Peak, peak_memory
from llmtrain.planner.mending import LAUNCH, problems_of
from llmtrain.planner.outlook import Outlook, outlook_json, outlook_of, outlook_warnings
from llmtrain.planner.parameters import (
    active_parameters,
    rank_parameters,
    stage_parameters,
    total_parameters,
)
from llmtrain.planner.sets import SetUse, sets_json, sets_of, sets_warnings
from llmtrain.planner.speed import Speed, speed_json, speed_of
from llmtrain.planner.verdict import Verdict, verdict

SCHEMA = 1
"""Version of ``plan --json`` and plan.json."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One pipeline stage."""

    number: int
    """From 0."""
    chunks: tuple[tuple[int, ...], ...]
    """Layer numbers from 0, chunk by chunk."""
    parameters: int
    """Of one rank."""
    stage_parameters: int
    """Summed over the tensor parallel ranks."""
    peak: Peak
    """The memory of one rank and how it comes about."""

    @property
    def memory(self) -> Memory:
        """Of one rank."""
        return self.peak.memory

    @property
    def layers(self) -> int:
        """How many layers."""
        return sum(len(chunk) for chunk in self.chunks)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a recipe means on its cluster. None: not known."""

    recipe: Recipe
    """What was planned; where it names no interval between checkpoints, the best one."""
    nodes: int
    """Nodes that compute."""
    ranks_per_node: int
    """Processes on each."""
    dp: int
    """Data parallel."""
    edp: int
    """Expert data parallel."""
    microbatches: int
    """Micro-batches of one step on each replica."""
    steps: int | None
    """Optimizer steps of the run."""
    axes: tuple[Axis, ...]
    """How the groups lie on the nodes, fastest axis first."""
    total_parameters: int
    """Distinct parameters."""
    active_parameters: int
    """Those that one token passes."""
    stages: tuple[Stage, ...]
    """From the first to the last."""
    speed: Speed | None = None
    """Step time and throughput; None: nothing is known of the processor."""
    sets: tuple[SetUse, ...] = ()
    """How often the data is gone through; looks at the files that are on this machine."""
    outlook: Outlook | None = None
    """Days and cost with failures; None: length or step time is not known."""
    warnings: tuple[Problem, ...] = ()
    """What a user should know."""
    errors: tuple[Problem, ...] = ()
    """Why this plan cannot be launched."""

    @property
    def peak_memory_bytes(self) -> int:
        """Of the worst rank."""
        return max(stage.memory.total for stage in self.stages)

    @property
    def host_memory_bytes(self) -> int | None:
        """On one node: the optimizer's states where they are offloaded; None where they are not."""
        most = max(
            host_bytes(self.recipe, rank_parameters(self.recipe, stage.number))
            for stage in self.stages
        )
        return self.ranks_per_node * most if most else None

    @property
    def verdict(self) -> Verdict | None:
        """Whether it fits; None where the GPU's memory is not known."""
        return verdict(self.recipe, tuple(stage.peak for stage in self.stages))


def make_plan(recipe: Recipe) -> Plan:
    """Plan ``recipe``.

    Raises:
        RecipeError: if the recipe breaks a rule; what the backend cannot express is in ``errors``.
    """
    broken = violations(recipe)
    if broken:
        raise RecipeError(with_repairs(recipe, broken, LAUNCH))
    chunks, peaks = stage_layers(recipe), peak_memory(recipe)
    outlook, speed, sets = outlook_of(recipe), speed_of(recipe), sets_of(recipe)
    recipe = _with_interval(recipe, outlook)
    return Plan(
        recipe=recipe,
        nodes=node_count(recipe),
        ranks_per_node=ranks_per_node(recipe),
        dp=data_parallel(recipe),
        edp=expert_data_parallel(recipe),
        microbatches=microbatches(recipe),
        steps=total_steps(recipe),
        axes=axes(recipe),
        total_parameters=total_parameters(recipe),
        active_parameters=active_parameters(recipe),
        stages=tuple(
            _stage(recipe, number, layers, peaks[number]) for number, layers in enumerate(chunks)
        ),
        speed=speed,
        outlook=outlook,
        sets=sets,
        warnings=(
            *advice(recipe, peaks, speed),
            *calibration_warnings(recipe),
            *outlook_warnings(recipe, outlook),
            *sets_warnings(recipe, sets),
            *index_warnings(recipe, sets),
        ),
        errors=problems_of(recipe, peaks),
    )


def worst_stage(plan: Plan) -> Stage:
    """The stage whose rank holds most."""
    return max(plan.stages, key=lambda stage: stage.memory.total)


def _with_interval(recipe: Recipe, outlook: Outlook | None) -> Recipe:
    if outlook is None or recipe.checkpoint.interval is not None:
        return recipe
    interval = outlook.goodput.interval_steps
    return replace(recipe, checkpoint=replace(recipe.checkpoint, interval=interval))


def _stage(recipe: Recipe, number: int, chunks: tuple[tuple[int, ...], ...], peak: Peak) -> Stage:
    return Stage(
        number=number,
        chunks=chunks,
        parameters=rank_parameters(recipe, number).total,
        stage_parameters=stage_parameters(recipe, number),
        peak=peak,
    )


def plan_json(plan: Plan) -> dict[str, Any]:
    """The same for ``plan --json``; what is not known is null."""
    recipe = plan.recipe
    return {
        "schema": SCHEMA,
        "recipe": recipe.name,
        "gpus": recipe.gpus,
        "nodes": plan.nodes,
        "parallel": {**degrees(recipe), "edp": plan.edp},
        "batch": {
            "micro": recipe.batch.micro,
            "global": recipe.batch.global_,
            "microbatches": plan.microbatches,
        },
        "steps": plan.steps,
        "data": sets_json(plan.sets),
        "params": {
            "total": plan.total_parameters,
            "active": plan.active_parameters,
            "per_stage": [stage.stage_parameters for stage in plan.stages],
        },
        "stages": [_stage_json(stage) for stage in plan.stages],
        "peak_memory_bytes": plan.peak_memory_bytes,
        "memory_capacity_bytes": recipe.cluster.gpu.memory_bytes,
        "host_memory_bytes": plan.host_memory_bytes,
        "verdict": plan.verdict,
        "fits": None if plan.verdict is None else plan.verdict != "no",
        "calibration": calibration_json(recipe),
        **speed_json(plan.speed),
        **outlook_json(plan.outlook),
        "checkpoint_bytes": checkpoint_bytes(recipe),
        "warnings": [warning.as_json() for warning in plan.warnings],
        "errors": [error.as_json() for error in plan.errors],
    }


def _stage_json(stage: Stage) -> dict[str, Any]:
    memory = stage.memory
    return {
        "stage": stage.number,
        "layers": stage.layers,
        "parameters": stage.parameters,
        "memory": {
            "weights": memory.weights,
            "gradients": memory.gradients,
            "optimizer": memory.optimizer,
            "activations": memory.activations,
            "workspace": memory.workspace,
            "total": memory.total,
        },
    }
