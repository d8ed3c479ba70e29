"""What lies in a run's folder beside the script that starts it."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from llmtrain.config.files import dump_recipe
from llmtrain.launchers.launch import Program, Variable
from llmtrain.launchers.provenance import Provenance
from llmtrain.planner.plan import Plan, plan_json

SCHEMA = 1
"""Version of launch.json and env.json."""


def content(
    plan: Plan, program: Program, variables: tuple[Variable, ...], provenance: Provenance
) -> dict[str, str]:
    """The files by name. None of them holds a time or the folder's own path."""
    return {
        "recipe.yaml": dump_recipe(plan.recipe),
        "plan.json": as_json(plan_json(plan)),
        "env.json": as_json([asdict(variable) for variable in variables]),
        "provenance.json": as_json(
            provenance.as_json() | {"image": plan.recipe.site.container.image}
        ),
        **program.files,
    }


def launch_json(plan: Plan, script: str, command: tuple[str, ...]) -> str:
    """The content of launch.json."""
    return as_json(
        {
            "schema": SCHEMA,
            "name": plan.recipe.run_name,
            "nodes": plan.nodes,
            "ranks_per_node": plan.ranks_per_node,
            "script": script,
            "command": list(command),
        }
    )


def as_json(value: Mapping[str, Any] | list[Any]) -> str:
    """Indented, with a line's end."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
