"""DeepSpeed without tensor parallelism: the reference trainer, or a script of the user's.

A script at ``backend.path`` gets the JSON; model and schedule are its own.
"""

from typing import Any

from llmtrain.config.reference import trains
from llmtrain.launchers.backends import megatron_core_deepspeed
from llmtrain.launchers.backends.deepspeed_json import FILE, as_text, engine_config
from llmtrain.launchers.backends.training_arguments import left_out
from llmtrain.launchers.launch import Program
from llmtrain.planner.plan import Plan


def program(plan: Plan) -> Program:
    """The trainer, or the script with the flag of ``deepspeed.add_config_arguments``."""
    if trains(plan.recipe):
        return megatron_core_deepspeed.program(plan)
    return Program(
        script=plan.recipe.backend.path,
        arguments=("--deepspeed_config", FILE),
        files={FILE: as_text(config(plan))},
        warnings=(
            "model, data and learning-rate schedule are the script's own",
            *left_out(plan.recipe),
        ),
    )


def config(plan: Plan) -> dict[str, Any]:
    """The engine's configuration, with the optimizer that a script may leave to it."""
    optim, universal = plan.recipe.optim, plan.recipe.checkpoint.universal
    return {
        **engine_config(plan),
        # Megatron-DeepSpeed adds it by itself to what it reads.
        **({"checkpoint": {"load_universal": True}} if universal else {}),
        "optimizer": {
            "type": "AdamW",
            "params": {
                "lr": optim.lr,
                "betas": [optim.beta1, optim.beta2],
                "eps": optim.eps,
                "weight_decay": optim.weight_decay,
            },
        },
    }
