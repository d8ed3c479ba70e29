"""What failures cost: the best interval between checkpoints, goodput, the worth of spare nodes.

Failures come by chance at a constant rate; each loses the work since the last checkpoint that
is safe, and a restart. Expected wall clock of exponential failures, also during restarts: Daly,
"A higher order estimate of the optimum checkpoint interval", FGCS 22 (2006), equations 20 and 37;
to first order Young's square root (CACM 17, 1974). A test simulates the same run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import exp, expm1, sqrt
from pathlib import Path
from types import MappingProxyType
from typing import Any

from llmtrain.config.layout import node_count
from llmtrain.config.recipe import Recipe
from llmtrain.config.yaml_reader import read_yaml
from llmtrain.planner.checkpoints import DAY, checkpoint_bytes

FILE = Path(__file__).parent / "data" / "failures.yaml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Saving:
    """What one checkpoint costs."""

    blocking: float
    """Seconds that all GPUs wait."""
    persisting: float = 0.0
    """Seconds until it is safe after that, while the GPUs work on (asynchronous)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exposure:
    """How a job meets failures."""

    between_failures: float
    """Mean seconds between two failures of the job."""
    restart: float
    """Seconds from a failure to the first new step, the checkpoint's reading included."""
    saving: Saving
    """What one checkpoint costs."""


@lru_cache(maxsize=1)
def data() -> Mapping[str, Any]:
    """The data file."""
    return MappingProxyType(read_yaml(FILE.read_text(encoding="utf-8")))


def node_days(recipe: Recipe) -> tuple[float, float, float]:
    """Node-days per failure: fewest, typical, most; all the same where the site knows."""
    own = recipe.site.node_days_per_failure
    if own is not None:
        return own, own, own
    priors = data()["node_days_per_failure"]
    values = [float(prior["value"]) for prior in priors.values()]
    return min(values), float(priors[data()["typical"]]["value"]), max(values)


def rate_source(recipe: Recipe) -> str:
    """Where the typical failure rate is from: the site, or whose run it was."""
    own = recipe.site.node_days_per_failure
    return "site.node_days_per_failure" if own is not None else str(data()["typical"])


def storage_rate(recipe: Recipe) -> float:
    """Bytes a second that checkpoints are written and read with."""
    own = recipe.site.checkpoint_gb_per_s
    each = data()["storage_gb_per_s_per_node"]["value"]
    return float(own if own is not None else each * node_count(recipe)) * 1e9


def saving_of(recipe: Recipe, *, asynchronous: bool = False) -> Saving:
    """Writing a checkpoint; asynchronous: only the copy to host memory blocks."""
    size = checkpoint_bytes(recipe)
    written = size / storage_rate(recipe)
    if not asynchronous:
        return Saving(blocking=written)
    rate = data()["snapshot_gb_per_s_per_gpu"]["value"] * 1e9 * recipe.gpus
    return Saving(blocking=size / rate, persisting=written)


def restart_parts(recipe: Recipe) -> dict[str, float]:
    """Seconds from a failure to the first new step, by what they go to.

    Detecting, scheduler, container, import, warm-up, or what the site says of them together; then
    reading the checkpoint.
    """
    own = recipe.site.restart_seconds
    parts = {name: float(part["value"]) for name, part in data()["restart_seconds"].items()}
    load = checkpoint_bytes(recipe) / storage_rate(recipe)
    return {**(parts if own is None else {"site": own}), "load": load}


def restart_seconds(recipe: Recipe) -> float:
    """All parts of a restart."""
    return sum(restart_parts(recipe).values())


def exposure_of(recipe: Recipe, node_days_each: float, *, asynchronous: bool = False) -> Exposure:
    """How the recipe's job meets failures."""
    return Exposure(
        between_failures=node_days_each * DAY / node_count(recipe),
        restart=restart_seconds(recipe),
        saving=saving_of(recipe, asynchronous=asynchronous),
    )


def young(exposure: Exposure) -> float:
    """Seconds of work between two checkpoints, to first order."""
    return sqrt(2.0 * exposure.saving.blocking * exposure.between_failures)


def best_interval(exposure: Exposure) -> float:
    """Seconds of work between two checkpoints that lose least (Daly 2006, equation 37).

    A checkpoint that is still being written bounds it from below.
    """
    cost, mean = exposure.saving.blocking, exposure.between_failures
    half = cost / (2.0 * mean)
    best = mean if half >= 1 else young(exposure) * (1 + sqrt(half) / 3 + half / 9) - cost
    return max(best, exposure.saving.persisting)


def goodput(exposure: Exposure, interval: float) -> float:
    """Share of the wall clock that is work which stays (Daly 2006, equation 20).

    What is being persisted when a failure comes is lost as if the restart took so much longer.

    Args:
        exposure: how the job meets failures.
        interval: seconds of work between two checkpoints.
    """
    mean, saving = exposure.between_failures, exposure.saving
    lost = (exposure.restart + saving.persisting) / mean
    segment = (interval + saving.blocking) / mean
    if lost + segment > 500.0:
        return 0.0
    return interval / (mean * exp(lost) * expm1(segment))


def spare_wait(recipe: Recipe, spares: int) -> float:
    """Seconds that each failure waits for a repaired node, with so many spares.

    Nodes under repair are Poisson distributed; with all spares among them the job waits for the
    first one to come back.
    """
    repair = float(data()["repair_seconds"]["value"])
    load = repair * node_count(recipe) / (node_days(recipe)[1] * DAY)
    term, below = exp(-load), 0.0
    for number in range(spares):
        below += term
        term *= load / (number + 1)
    return repair / (spares + 1) * max(0.0, 1.0 - below)
