"""Backends: which program trains, with which arguments and files. One module each."""

from dataclasses import replace
from importlib import import_module
from types import MappingProxyType

from llmtrain.config.errors import PlanError
from llmtrain.launchers.launch import Program
from llmtrain.planner.expressible import approximated
from llmtrain.planner.plan import Plan

BACKENDS = MappingProxyType(
    {
        "megatron-core": "llmtrain.launchers.backends.megatron_core",
        "megatron-core+deepspeed": "llmtrain.launchers.backends.megatron_core_deepspeed",
        "megatron-lm": "llmtrain.launchers.backends.megatron_lm",
        "megatron-deepspeed": "llmtrain.launchers.backends.megatron_deepspeed",
        "deepspeed": "llmtrain.launchers.backends.deepspeed",
    }
)
"""Name of a backend -> the module whose ``program`` renders it, imported when it is used."""


def program(plan: Plan) -> Program:
    """What every rank runs for ``plan``.

    Raises:
        PlanError: if the plan has errors, or the version lacks a flag that the recipe needs.
    """
    if plan.errors:
        raise PlanError(plan.errors)
    module = import_module(BACKENDS[plan.recipe.backend.name])
    rendered: Program = module.program(plan)
    accepted = tuple(problem.message for problem in approximated(plan.recipe))
    return replace(rendered, warnings=(*rendered.warnings, *accepted))
