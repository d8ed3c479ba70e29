"""What it takes to really finish: days, GPU-hours, energy and money, with failures in them."""

from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from llmtrain.config.errors import Problem
from llmtrain.config.layout import node_count
from llmtrain.config.recipe import Recipe
from llmtrain.planner.checkpoints import DAY, Checkpoints, checkpoints_of
from llmtrain.planner.failures import (
    best_interval,
    exposure_of,
    goodput,
    node_days,
    rate_source,
    restart_parts,
    spare_wait,
)
from llmtrain.planner.length import Length, length_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Goodput:
    """The run with its failures."""

    fraction: float
    """Share of the wall clock that is work which stays."""
    days: float
    """Wall clock, gross: checkpoints, failures and restarts included."""
    days_range: tuple[float, float]
    """By the step time's error and the range of failure rates."""
    gpu_hours: float
    """Gross, spare nodes included."""
    failures: float
    """Expected in the run."""
    hours_between_failures: float
    """Mean, of the job."""
    node_days_per_failure: float
    """The typical rate."""
    failure_rate_source: str
    """The site's key, or the run whose rate stands in (``planner/data/failures.yaml``)."""
    restart_seconds: float
    """From a failure to the first new step, reading the checkpoint included."""
    restart_parts: dict[str, float]
    """The same by what it goes to."""
    checkpoint_seconds: float
    """All GPUs wait so long for one checkpoint that blocks."""
    snapshot_seconds: float
    """All GPUs wait so long for an asynchronous one."""
    persist_seconds: float
    """An asynchronous one is safe so long after that; no shorter interval is possible."""
    interval_steps: int
    """Steps between two checkpoints: the recipe's, else the best."""
    best_interval_steps: int
    """The interval that loses least."""
    best_fraction: float
    """Goodput with it."""
    asynchronous_interval_steps: int
    """The interval of asynchronous checkpoints that loses least."""
    asynchronous_fraction: float
    """Goodput with them, at that interval."""
    waiting_days: float
    """What waiting for repaired nodes adds where no other nodes can be had, with the spares."""
    spare_worth_days: float
    """How many of these days one more spare node saves."""
    checkpoints_kept_bytes: int
    """Those that are kept, and the one being written."""
    checkpoint_bytes_per_day: float | None
    """Written in a day."""
    energy_mwh: float | None
    """Of the GPUs at their design power; None where it is not known."""
    price: float | None
    """Gross GPU-hours at the recipe's price, else the site's; None where there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """Net and gross."""

    length: Length
    """Without failures."""
    goodput: Goodput
    """With them."""
    checkpoints: Checkpoints
    """Space."""


def outlook_of(recipe: Recipe, stack: str | None = None) -> Outlook | None:
    """The outlook of ``recipe``; None where its length or its step time is not known.

    ``stack``: see :func:`llmtrain.planner.length.length_of`.
    """
    length = length_of(recipe, stack)
    if length is None or length.seconds <= 0:
        return None
    step = length.seconds / length.steps
    few, typical, many = node_days(recipe)
    exposure = exposure_of(recipe, typical)
    best = max(1, round(best_interval(exposure) / step))
    steps = min(recipe.checkpoint.interval or best, length.steps)
    fraction = goodput(exposure, steps * step)
    later = exposure_of(recipe, typical, asynchronous=True)
    often = max(1, ceil(best_interval(later) / step))
    checkpoints = checkpoints_of(recipe, step, steps)
    shares = [goodput(exposure_of(recipe, rate), steps * step) for rate in (few, many)]
    seconds = _over(length.seconds, fraction)
    failures = seconds / exposure.between_failures
    hours = seconds / 3600.0 * occupied_gpus(recipe)
    waits = [spare_wait(recipe, recipe.nodes.spare + more) * failures / DAY for more in (0, 1)]
    return Outlook(
        length=length,
        checkpoints=checkpoints,
        goodput=Goodput(
            fraction=fraction,
            days=seconds / DAY,
            days_range=(
                _over(length.days * (1.0 - length.error), max(*shares, fraction)),
                _over(length.days * (1.0 + length.error), min(*shares, fraction)),
            ),
            gpu_hours=hours,
            failures=failures,
            hours_between_failures=exposure.between_failures / 3600.0,
            node_days_per_failure=typical,
            failure_rate_source=rate_source(recipe),
            restart_seconds=exposure.restart,
            restart_parts=restart_parts(recipe),
            checkpoint_seconds=exposure.saving.blocking,
            snapshot_seconds=later.saving.blocking,
            persist_seconds=later.saving.persisting,
            interval_steps=steps,
            best_interval_steps=best,
            best_fraction=goodput(exposure, best * step),
            asynchronous_interval_steps=often,
            asynchronous_fraction=goodput(later, often * step),
            waiting_days=waits[0],
            spare_worth_days=waits[0] - waits[1],
            checkpoints_kept_bytes=checkpoints.kept_bytes,
            checkpoint_bytes_per_day=checkpoints.bytes_per_day,
            energy_mwh=_energy(recipe, hours),
            price=_price(recipe, hours),
        ),
    )


def _over(amount: float, share: float) -> float:
    """A run that never gets on is said to take as long as a thousandth's progress."""
    return amount / max(share, 1e-3)


def occupied_gpus(recipe: Recipe) -> int:
    """GPUs that the job holds, those of its spare nodes too."""
    if not recipe.nodes.spare:
        return recipe.gpus
    return (node_count(recipe) + recipe.nodes.spare) * recipe.cluster.gpus_per_node


def _energy(recipe: Recipe, gpu_hours: float) -> float | None:
    watts = recipe.cluster.gpu.tdp_watts
    return None if watts is None else gpu_hours * watts / 1e6


def _price(recipe: Recipe, gpu_hours: float) -> float | None:
    each = price_of_gpu_hour(recipe)
    return None if each is None else gpu_hours * each


def price_of_gpu_hour(recipe: Recipe) -> float | None:
    """The recipe's, else the site's; None where neither says one."""
    own = recipe.price.gpu_hour
    return own if own is not None else recipe.site.gpu_hour_price


def outlook_warnings(recipe: Recipe, outlook: Outlook | None) -> tuple[Problem, ...]:
    """Checkpoints that do not fit the site's quota."""
    checkpoints = outlook.checkpoints if outlook else checkpoints_of(recipe, None, None)
    if not checkpoints.exceeds_quota:
        return ()
    says = (
        f"= {checkpoints.quota_bytes} bytes do not hold {recipe.checkpoint.keep} checkpoints and "
        f"the one being written: {checkpoints.kept_bytes} bytes"
    )
    hint = "keep fewer: `checkpoint.keep`"
    key = "site.checkpoint_quota_bytes"
    return (Problem(code="quota_too_small", key=key, says=says, hint=hint),)


KEYS = ("days", "gpu_hours", "goodput")
"""Keys of ``plan --json``."""


def outlook_json(outlook: Outlook | None) -> dict[str, Any]:
    """The keys of ``plan --json`` that say days and cost; null where they are not known."""
    if outlook is None:
        return dict.fromkeys(KEYS)
    goodput = asdict(outlook.goodput)
    goodput["days_range"] = list(outlook.goodput.days_range)
    return {
        "days": outlook.length.days,
        "gpu_hours": outlook.length.gpu_hours,
        "goodput": goodput,
    }
