"""Megatron-LM: ``pretrain_gpt.py`` of a checkout or container that the recipe names."""

from llmtrain.config.recipe import Recipe
from llmtrain.launchers.backends import (
    data_arguments,
    layout_arguments,
    model_arguments,
    precision_arguments,
    training_arguments,
)
from llmtrain.launchers.backends.arguments import Value, command_line
from llmtrain.launchers.backends.checkout_files import checkout_files
from llmtrain.launchers.backends.flag_table import FlagTable, read_flags
from llmtrain.launchers.backends.length import length
from llmtrain.launchers.launch import Program
from llmtrain.planner.limits import version_of
from llmtrain.planner.plan import Plan


def program(plan: Plan) -> Program:
    """``pretrain_gpt.py`` with the plan as its arguments.

    Raises:
        PlanError: if the version lacks a flag that the recipe needs.
    """
    recipe = plan.recipe
    path = recipe.backend.path
    table = read_flags("megatron-lm", version_of(recipe))
    return Program(
        script=f"{path.rstrip('/')}/pretrain_gpt.py" if path else "pretrain_gpt.py",
        arguments=command_line(arguments(recipe, table), table),
        files=checkout_files(path, table),
        missing=() if path else ("backend.path",),
        warnings=tuple(training_arguments.warnings(recipe, "Megatron-LM")),
    )


def arguments(recipe: Recipe, table: FlagTable) -> dict[str, Value]:
    """Every argument by concern: layout, model, batch and optimizer, numbers, data, the run."""
    return {
        **layout_arguments.degrees(recipe),
        **layout_arguments.stages(recipe, table),
        **model_arguments.sizes(recipe),
        **model_arguments.attention(recipe),
        **model_arguments.latent_attention(recipe),
        **model_arguments.feed_forward(recipe),
        **model_arguments.norms_and_biases(recipe),
        **model_arguments.positions(recipe),
        **model_arguments.initial_state(recipe),
        **model_arguments.experts(recipe),
        **model_arguments.multi_token_prediction(recipe),
        **training_arguments.batch(recipe, table),
        **length(recipe),
        **training_arguments.learning_rate(recipe),
        **training_arguments.optimizer(recipe),
        **precision_arguments.distributed_optimizer(recipe),
        **precision_arguments.numbers(recipe),
        **precision_arguments.fp8(recipe),
        **precision_arguments.recompute(recipe, table),
        **precision_arguments.kernels(recipe, table),
        **data_arguments.tokenizer(recipe, table),
        **data_arguments.corpus(recipe),
        **data_arguments.evaluation(recipe),
        **data_arguments.checkpoints(recipe),
        **data_arguments.logs(recipe, table),
        **training_arguments.program_run(recipe),
        **training_arguments.trace(recipe),
    }
