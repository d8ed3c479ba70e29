"""``plan --explain``: what went into days, failures, checkpoints and cost."""

from collections.abc import Callable
from typing import TypeAlias

from llmtrain.config.layout import node_count
from llmtrain.config.recipe import Recipe
from llmtrain.planner.checkpoints import checkpoint_bytes
from llmtrain.planner.explain.entry import Numbers
from llmtrain.planner.explain.layout import steps
from llmtrain.planner.failures import (
    data,
    exposure_of,
    goodput,
    node_days,
    rate_source,
    restart_parts,
    spare_wait,
    storage_rate,
)
from llmtrain.planner.outlook import Outlook, occupied_gpus, price_of_gpu_hour
from llmtrain.planner.plan import Plan

Found: TypeAlias = Callable[[Recipe, Outlook], Numbers]
"""What finds the numbers where length and step time are known."""


def known(found: Found) -> Callable[[Plan, str], Numbers]:
    """The numbers of a plan whose length and step time are known; none else."""

    def numbers(plan: Plan, _: str) -> Numbers:
        return found(plan.recipe, plan.outlook) if plan.outlook is not None else {}

    return numbers


def length(plan: Plan, field: str) -> Numbers:
    """Steps and their time."""
    found: Numbers = {"gpus": plan.recipe.gpus}
    if plan.speed is not None:
        found["step_seconds"] = plan.speed.step_seconds
    if plan.outlook is not None:
        whole = plan.outlook.length
        found |= {"steps": whole.steps, "mean step, s": whole.seconds / whole.steps}
        found |= {"net days": whole.days}
    return found | {name: each for name, each in steps(plan, field).items() if name != "run.steps"}


def failing(recipe: Recipe, outlook: Outlook) -> Numbers:
    """The rate of failures, and the nodes."""
    found = outlook.goodput
    return {
        "node-days a failure": found.node_days_per_failure,
        "rate from": found.failure_rate_source,
        "nodes": node_count(recipe),
        "between failures, s": found.hours_between_failures * 3600,
    }


def saving(recipe: Recipe, _: Outlook) -> Numbers:
    """Bytes of a checkpoint, and the storage's rate."""
    return {
        "checkpoint_bytes": checkpoint_bytes(recipe),
        "storage, bytes a second": storage_rate(recipe),
        "nodes": node_count(recipe),
        "rate from": _storage(recipe),
    }


def _storage(recipe: Recipe) -> str:
    own = recipe.site.checkpoint_gb_per_s is not None
    return "site.checkpoint_gb_per_s" if own else "planner/data/failures.yaml, a node"


def snapshot(recipe: Recipe, _: Outlook) -> Numbers:
    """Bytes of a checkpoint, and the rate to host memory."""
    each = data()["snapshot_gb_per_s_per_gpu"]["value"] * 1e9
    return {
        "checkpoint_bytes": checkpoint_bytes(recipe),
        "bytes a second of a GPU": each,
        "gpus": recipe.gpus,
    }


def fraction(recipe: Recipe, outlook: Outlook) -> Numbers:
    """The interval, what a checkpoint costs, a restart, and the rate of failures."""
    found, whole = outlook.goodput, outlook.length
    return {
        "interval_steps": found.interval_steps,
        "mean step, s": whole.seconds / whole.steps,
        "a checkpoint blocks, s": found.checkpoint_seconds,
        "restart_seconds": found.restart_seconds,
        **failing(recipe, outlook),
    }


def best(recipe: Recipe, outlook: Outlook) -> Numbers:
    """The same at the best interval."""
    best = {"best_interval_steps": outlook.goodput.best_interval_steps}
    rest = fraction(recipe, outlook)
    return {**best, **{name: each for name, each in rest.items() if name != "interval_steps"}}


def asynchronous(recipe: Recipe, outlook: Outlook) -> Numbers:
    """The same with checkpoints that are written while the GPUs work on."""
    found, whole = outlook.goodput, outlook.length
    return {
        "asynchronous_interval_steps": found.asynchronous_interval_steps,
        "mean step, s": whole.seconds / whole.steps,
        "a snapshot blocks, s": found.snapshot_seconds,
        "until it is safe, s": found.persist_seconds,
        "restart_seconds": found.restart_seconds,
        **failing(recipe, outlook),
    }


def interval(recipe: Recipe, outlook: Outlook) -> Numbers:
    """The recipe's interval and the best one."""
    return {
        "checkpoint.interval": recipe.checkpoint.interval,
        "best_interval_steps": outlook.goodput.best_interval_steps,
        "steps": outlook.length.steps,
    }


def days(_: Recipe, outlook: Outlook) -> Numbers:
    """Net days, and the share that is work."""
    return {"net days": outlook.length.days, "fraction": outlook.goodput.fraction}


def days_range(recipe: Recipe, outlook: Outlook) -> Numbers:
    """The step's error, and goodput at both ends of the failure rates."""
    whole, found = outlook.length, outlook.goodput
    interval = found.interval_steps * whole.seconds / whole.steps
    few, _, many = node_days(recipe)
    return {
        "net days": whole.days,
        "error of the step": whole.error,
        "fewest node-days a failure": few,
        "fraction then": goodput(exposure_of(recipe, few), interval),
        "most node-days a failure": many,
        "fraction with these": goodput(exposure_of(recipe, many), interval),
    }


def hours(recipe: Recipe, outlook: Outlook) -> Numbers:
    """Gross days, and the GPUs that are held."""
    return {
        "days": outlook.goodput.days,
        "gpus, those of spare nodes too": occupied_gpus(recipe),
        "nodes.spare": recipe.nodes.spare,
    }


def failures(recipe: Recipe, outlook: Outlook) -> Numbers:
    """Gross days, and the rate of failures."""
    return {"days": outlook.goodput.days, **failing(recipe, outlook)}


def rate(recipe: Recipe, _: Outlook) -> Numbers:
    """The site's rate, and those of published runs."""
    own = recipe.site.node_days_per_failure
    priors = data()["node_days_per_failure"]
    shown = {f"{name}'s run": prior["value"] for name, prior in priors.items()}
    return {"site.node_days_per_failure": own, **shown, "taken": rate_source(recipe)}


def restart(recipe: Recipe, outlook: Outlook) -> Numbers:
    """Parts of a restart, and what reading a checkpoint takes."""
    parts = {f"{name}, s": each for name, each in restart_parts(recipe).items()}
    site = {"site.restart_seconds": recipe.site.restart_seconds}
    return {**site, **parts, **saving(recipe, outlook)}


def waiting(recipe: Recipe, outlook: Outlook) -> Numbers:
    """How long failures wait for a repaired node."""
    spare = recipe.nodes.spare
    return {
        "failures": outlook.goodput.failures,
        "nodes.spare": spare,
        "a failure waits, s": spare_wait(recipe, spare),
        "with one spare more, s": spare_wait(recipe, spare + 1),
        "a repair takes, s": data()["repair_seconds"]["value"],
        **failing(recipe, outlook),
    }


def kept(recipe: Recipe, _: Outlook) -> Numbers:
    """A checkpoint, and how many are kept."""
    return {
        "checkpoint_bytes": checkpoint_bytes(recipe),
        "checkpoint.keep": recipe.checkpoint.keep,
    }


def written(recipe: Recipe, outlook: Outlook) -> Numbers:
    """A checkpoint, and how often one is written."""
    whole = outlook.length
    return {
        "checkpoint_bytes": checkpoint_bytes(recipe),
        "interval_steps": outlook.goodput.interval_steps,
        "mean step, s": whole.seconds / whole.steps,
    }


def energy(recipe: Recipe, outlook: Outlook) -> Numbers:
    """GPU-hours, and the design power."""
    gpu = recipe.cluster.gpu
    return {
        "goodput.gpu_hours": outlook.goodput.gpu_hours,
        "gpu.tdp_watts": gpu.tdp_watts,
        "gpu": gpu.name,
    }


def price(recipe: Recipe, outlook: Outlook) -> Numbers:
    """GPU-hours, and what one costs."""
    return {
        "goodput.gpu_hours": outlook.goodput.gpu_hours,
        "price of a GPU-hour": price_of_gpu_hour(recipe),
        "price.gpu_hour": recipe.price.gpu_hour,
        "site.gpu_hour_price": recipe.site.gpu_hour_price,
    }
