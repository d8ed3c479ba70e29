"""The reference trainer of this project, on megatron-core. It reads the run's folder."""

from llmtrain.launchers.launch import Program
from llmtrain.planner.plan import Plan


def program(plan: Plan) -> Program:
    """The trainer in the run's folder, which is the working directory."""
    return Program(module="llmtrain.trainer", arguments=(".",))
