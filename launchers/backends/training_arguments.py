"""Batch, optimizer and schedule as arguments. Megatron-LM and Megatron-DeepSpeed share them."""

from collections.abc import Iterator
from math import ceil

from llmtrain.config.recipe import Recipe
from llmtrain.config.training import Checkpoint
from llmtrain.config.watch import Guard, Hang, Straggler
from llmtrain.launchers.backends.arguments import Arguments
from llmtrain.launchers.backends.flag_table import FlagTable

STEPS = "--step-batch-size-schedule"
"""The flag of versions whose batch follows a schedule of steps."""


def batch(recipe: Recipe, table: FlagTable) -> Arguments:
    """Micro-batch, global batch and ramp, in sequences.

    core_v0.19.0 still parses ``--rampup-batch-size`` and ignores it
    (``num_microbatches_calculator.py``); its step schedule takes the global batch's place.
    """
    sizes, ramp = recipe.batch, recipe.batch.ramp
    if ramp is not None and STEPS in table:
        return {"--micro-batch-size": sizes.micro, STEPS: step_schedule(recipe)}
    return {
        "--micro-batch-size": sizes.micro,
        "--global-batch-size": sizes.global_,
        "--rampup-batch-size": (ramp.start, ramp.step, ramp.samples) if ramp else None,
    }


def step_schedule(recipe: Recipe) -> str:
    """A ramp as ``TOKENS:BATCH,…``: from so many consumed tokens on, so large a batch.

    The thresholds are those of :func:`llmtrain.config.layout.ramp_steps`, in whole sequences.
    """
    ramp, sizes = recipe.batch.ramp, recipe.batch.sizes()
    share = ramp.samples / (len(sizes) - 1) if ramp and len(sizes) > 1 else 0
    steps = (f"{ceil(k * share) * recipe.model.seq}:{size}" for k, size in enumerate(sizes))
    return ",".join(steps)


def optimizer(recipe: Recipe) -> Arguments:
    """Adam, weight decay and clipping."""
    optim = recipe.optim
    return {
        "--optimizer": optim.name,
        "--adam-beta1": optim.beta1,
        "--adam-beta2": optim.beta2,
        "--adam-eps": optim.eps,
        "--weight-decay": optim.weight_decay,
        "--clip-grad": optim.clip,
    }


def learning_rate(recipe: Recipe) -> Arguments:
    """Peak, floor and form of the schedule; its length is in :mod:`.length`."""
    kind = recipe.schedule.kind
    return {
        "--lr": recipe.optim.lr,
        "--min-lr": recipe.optim.min_lr,
        "--lr-decay-style": "WSD" if kind == "wsd" else kind,
        "--lr-wsd-decay-style": "linear" if kind == "wsd" else None,
    }


def loss_scale(recipe: Recipe) -> Arguments:
    """The loss scale of fp16: constant, or dynamic with a beginning and a window."""
    precision = recipe.precision
    if precision.kind != "fp16":
        return {}
    if precision.loss_scale is not None:
        return {"--loss-scale": precision.loss_scale}
    return {
        "--initial-loss-scale": precision.initial_loss_scale,
        "--loss-scale-window": precision.loss_scale_window,
    }


def program_run(recipe: Recipe) -> Arguments:
    """Seed, time-outs and signals.

    An hour, where the default is ten minutes, because ranks wait that long while one builds the
    index of a large corpus or a storage gives out a large checkpoint; examples of Megatron-LM at
    scale take it too. The signal handler saves and ends the run when Slurm's time is up.
    """
    return {
        "--seed": recipe.run.seed,
        "--distributed-timeout-minutes": 60,
        "--exit-signal-handler": True,
    }


def warnings(recipe: Recipe, program: str) -> Iterator[str]:
    """What ``program`` counts otherwise, or does not have."""
    if recipe.batch.ramp is not None and recipe.schedule.warmup:
        yield f"the warm-up rises with samples, not steps: {program} counts those on a batch ramp"
    yield from left_out(recipe)


def left_out(recipe: Recipe) -> Iterator[str]:
    """What is asked for that only the reference trainer has."""
    given = {
        "guard": recipe.guard != Guard(),
        "hang": recipe.hang != Hang(),
        "straggler": recipe.straggler != Straggler(),
        "checkpoint.keep": recipe.checkpoint.keep != Checkpoint().keep,
        "log.wandb": recipe.log.wandb is not None,
        "log.mlflow": recipe.log.mlflow is not None,
    }
    for key in (key for key, is_given in given.items() if is_given):
        yield f"`{key}` is left out: only the reference trainer has it"


def trace(recipe: Recipe) -> Arguments:
    """The traced steps. Megatron-LM counts the steps that are done, from 0."""
    profile = recipe.profile
    if profile.tool == "none":
        return {}
    return {
        "--profile": True,
        "--profile-step-start": profile.start - 1,
        "--profile-step-end": profile.start - 1 + profile.steps,
        "--profile-ranks": profile.ranks,
        "--use-pytorch-profiler": profile.tool == "torch",
    }
