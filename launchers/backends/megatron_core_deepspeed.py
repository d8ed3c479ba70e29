"""The reference trainer with DeepSpeed's engine: it reads the run's folder, the JSON too."""

from typing import Any

from llmtrain.launchers.backends.deepspeed_json import FILE, as_text, engine_config
from llmtrain.launchers.launch import Program
from llmtrain.planner.deepspeed_memory import buckets
from llmtrain.planner.plan import Plan


def program(plan: Plan) -> Program:
    """The trainer in the run's folder, which is the working directory."""
    return Program(module="llmtrain.trainer", arguments=(".",), files={FILE: as_text(config(plan))})


def config(plan: Plan) -> dict[str, Any]:
    """The engine's configuration around an optimizer of the trainer's own."""
    engine = engine_config(plan)
    return {
        **engine,
        "zero_optimization": {**engine["zero_optimization"], **buckets(plan.recipe)},
        "steps_per_print": None,
        # torch's Adam updates what is offloaded too: DeepSpeed's has to be compiled first.
        "zero_force_ds_cpu_optimizer": False,
        # Under sequence parallel each rank sends a part of its own.
        "pipeline": {"pipe_partitioned": False, "grad_partitioned": False},
    }
