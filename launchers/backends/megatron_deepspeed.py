"""Megatron-DeepSpeed: ``pretrain_gpt.py`` of a checkout, its arguments and DeepSpeed's JSON.

The flags that it shares with Megatron-LM are rendered by the same functions; here is what it has
under another name, or of its own.
"""

from collections.abc import Iterator

from llmtrain.config.recipe import Recipe
from llmtrain.launchers.backends import data_arguments, training_arguments
from llmtrain.launchers.backends.arguments import Arguments, Value, command_line
from llmtrain.launchers.backends.checkout_files import checkout_files
from llmtrain.launchers.backends.deepspeed_json import FILE, as_text, engine_config
from llmtrain.launchers.backends.flag_table import FlagTable, read_flags
from llmtrain.launchers.backends.length import length
from llmtrain.launchers.backends.model_arguments import initial_state, sizes
from llmtrain.launchers.launch import Program
from llmtrain.planner.limits import version_of
from llmtrain.planner.plan import Plan


def program(plan: Plan) -> Program:
    """``pretrain_gpt.py`` with the plan as its arguments and its JSON.

    It has no made-up data, so ``data.paths`` is missing where the recipe asks for that.

    Raises:
        PlanError: if the version lacks a flag that the recipe needs.
    """
    recipe = plan.recipe
    path = recipe.backend.path
    table = read_flags("megatron-deepspeed", version_of(recipe))
    absent = {"backend.path": path, "data.paths": recipe.data.paths}
    return Program(
        script=f"{path.rstrip('/')}/pretrain_gpt.py" if path else "pretrain_gpt.py",
        arguments=command_line(arguments(recipe, table), table),
        files={FILE: as_text(engine_config(plan)), **checkout_files(path, table)},
        missing=tuple(key for key, value in absent.items() if not value),
        warnings=tuple(warnings(recipe)),
    )


def arguments(recipe: Recipe, table: FlagTable) -> dict[str, Value]:
    """Every argument by concern: engine, layout, model, batch and optimizer, data, the run."""
    return {
        **engine(recipe),
        **layout(recipe),
        **sizes(recipe),
        **attention(recipe),
        **layers(recipe),
        **positions(recipe),
        **initial_state(recipe),
        **training_arguments.batch(recipe, table),
        **length(recipe),
        **training_arguments.learning_rate(recipe),
        **training_arguments.optimizer(recipe),
        "--bf16": recipe.precision.kind == "bf16",
        "--fp16": recipe.precision.kind == "fp16",
        **training_arguments.loss_scale(recipe),
        **recompute(recipe),
        **data_arguments.tokenizer(recipe, table),
        **corpus(recipe),
        **data_arguments.evaluation(recipe),
        **data_arguments.checkpoints(recipe),
        **data_arguments.logs(recipe, table),
        **training_arguments.program_run(recipe),
    }


def engine(recipe: Recipe) -> Arguments:
    """DeepSpeed, its JSON, and what the program itself must know of it."""
    return {
        "--deepspeed": True,
        "--deepspeed_config": FILE,
        "--zero-stage": recipe.optim.zero,
        "--cpu-optimizer": recipe.optim.offload,
        "--no-pipeline-parallel": recipe.parallel.pp == 1,
        "--universal-checkpoint": recipe.checkpoint.universal,
    }


def layout(recipe: Recipe) -> Arguments:
    """Tensor and pipeline parallel."""
    parallel = recipe.parallel
    return {
        "--tensor-model-parallel-size": parallel.tp,
        "--sequence-parallel": parallel.sequence,
        "--pipeline-model-parallel-size": parallel.pp,
    }


def attention(recipe: Recipe) -> Arguments:
    """Width and groups of heads, and the kernel."""
    model = recipe.model
    grouped = model.kv_head_count != model.heads
    return {
        "--kv-channels": model.head_dim,
        "--num-key-value-heads": model.kv_head_count if grouped else None,
        "--use-flash-attn-v2": recipe.kernels.attention == "flash",
    }


def layers(recipe: Recipe) -> Arguments:
    """Activation, norms and biases."""
    model = recipe.model
    return {
        "--swiglu": model.activation == "swiglu",
        "--squared-relu": model.activation == "relu2",
        "--normalization": "rmsnorm" if model.norm == "rmsnorm" else "layernorm",
        "--layernorm-epsilon": model.norm_eps,
        "--apply-layernorm-1p": model.norm == "layernorm1p",
        "--disable-bias-linear": not model.bias,
    }


def positions(recipe: Recipe) -> Arguments:
    """How a token knows its place; learned positions are what it does without a flag."""
    model = recipe.model
    rope = model.positions == "rope"
    return {
        "--no-position-embedding": model.positions == "none",
        "--use-rotary-position-embeddings": rope,
        "--rotary-position-embeddings-theta": int(model.rope_base) if rope else None,
        "--rotary-percent": model.rope_fraction if rope else None,
    }


def recompute(recipe: Recipe) -> Arguments:
    """Which activations are computed again.

    Groups of whole layers go through DeepSpeed's checkpointing, which also restores the random
    states of dropout under tensor parallel (``initialize.py``,
    ``setup_deepspeed_random_and_activation_checkpointing``).
    """
    wanted = recipe.recompute
    if wanted.kind == "none":
        return {}
    if wanted.kind == "selective":
        return {"--recompute-granularity": "selective"}
    if wanted.method == "uniform":
        return {
            "--checkpoint-activations": True,
            "--checkpoint-num-layers": wanted.layers,
            "--deepspeed-activation-checkpointing": True,
        }
    return {
        "--recompute-granularity": "full",
        "--recompute-method": wanted.method,
        "--recompute-num-layers": wanted.layers,
    }


def corpus(recipe: Recipe) -> Arguments:
    """Where the tokens come from."""
    return {**data_arguments.corpus(recipe), "--mock-data": None, "--data-impl": "mmap"}


def warnings(recipe: Recipe) -> Iterator[str]:
    """What the program counts otherwise or does not have."""
    yield from training_arguments.warnings(recipe, "Megatron")
    if recipe.optim.overlap_param_gather:
        yield "`optim.overlap_param_gather` is left out: DeepSpeed has nothing like it"
