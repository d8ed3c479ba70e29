"""Plain DeepSpeed: a script of the user's, which gets the JSON. Model and schedule are its own."""

from typing import Any

from llmtrain.launchers.backends.deepspeed_json import FILE, as_text, engine_config
from llmtrain.launchers.launch import Program
from llmtrain.planner.plan import Plan


def program(plan: Plan) -> Program:
    """The script at ``backend.path``, with the flag of ``deepspeed.add_config_arguments``."""
    path = plan.recipe.backend.path
    return Program(
        script=path or "train.py",
        arguments=("--deepspeed_config", FILE),
        files={FILE: as_text(config(plan))},
        missing=() if path else ("backend.path",),
        warnings=("model, data and learning-rate schedule are the script's own",),
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
