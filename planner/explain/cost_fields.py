"""``plan --explain``: days, failures, checkpoints and cost. A table."""

from llmtrain.planner.explain import cost
from llmtrain.planner.explain.entry import Entry

_DALY = "Daly 2006, equation 20"
_BEST = "Daly 2006, equation 37"
_DATA = "planner/data/failures.yaml"
_EQUATION = (
    "interval / (M × exp((restart + until it is safe) / M) × (exp((interval + blocked) / M) - 1)), "
    "M seconds between failures"
)
_OPTIMUM = "sqrt(2 c M) × (1 + sqrt(c / 2M) / 3 + c / 18M) - c, c seconds blocked, rounded to steps"

COST: dict[str, Entry] = {
    "days": (
        "steps × their mean time, the ramp's smaller steps included; no failures",
        "planner/length.py",
        cost.length,
    ),
    "gpu_hours": ("days × 24 × gpus; no failures", "definition", cost.length),
    "goodput": (
        "net time / gross time with checkpoints, failures and restarts",
        f"{_DALY}; rates in {_DATA}",
        cost.known(cost.fraction),
    ),
    "goodput.fraction": (_EQUATION, f"{_DALY}; rates in {_DATA}", cost.known(cost.fraction)),
    "goodput.days": (
        "net days / fraction, this at least 0.001",
        "definition",
        cost.known(cost.days),
    ),
    "goodput.days_range": (
        "net days × (1 - error) / the best fraction, × (1 + error) / the worst",
        f"docs/accuracy.md; rates in {_DATA}",
        cost.known(cost.days_range),
    ),
    "goodput.gpu_hours": ("goodput.days × 24 × gpus", "definition", cost.known(cost.hours)),
    "goodput.failures": (
        "goodput.days × 86400 / seconds between failures",
        f"rates in {_DATA}",
        cost.known(cost.failures),
    ),
    "goodput.hours_between_failures": (
        "node-days a failure × 24 / nodes",
        f"rates in {_DATA}",
        cost.known(cost.failing),
    ),
    "goodput.node_days_per_failure": (
        "the site's, else the typical one of published runs",
        _DATA,
        cost.known(cost.rate),
    ),
    "goodput.failure_rate_source": ("the key, or the run", _DATA, cost.known(cost.rate)),
    "goodput.restart_seconds": ("the sum of its parts", _DATA, cost.known(cost.restart)),
    "goodput.restart_parts": (
        "the data's, or the site's together; load: checkpoint_bytes / storage",
        _DATA,
        cost.known(cost.restart),
    ),
    "goodput.checkpoint_seconds": ("checkpoint_bytes / storage", _DATA, cost.known(cost.saving)),
    "goodput.snapshot_seconds": (
        "checkpoint_bytes / (bytes a second of a GPU × gpus)",
        f"{_DATA}, snapshot_gb_per_s_per_gpu",
        cost.known(cost.snapshot),
    ),
    "goodput.persist_seconds": ("checkpoint_bytes / storage", _DATA, cost.known(cost.saving)),
    "goodput.interval_steps": (
        "checkpoint.interval, else best_interval_steps; at most steps",
        "the recipe",
        cost.known(cost.interval),
    ),
    "goodput.best_interval_steps": (_OPTIMUM, _BEST, cost.known(cost.best)),
    "goodput.best_fraction": (_EQUATION, _DALY, cost.known(cost.best)),
    "goodput.asynchronous_interval_steps": (
        f"{_OPTIMUM} above; at least until it is safe",
        _BEST,
        cost.known(cost.asynchronous),
    ),
    "goodput.asynchronous_fraction": (_EQUATION, _DALY, cost.known(cost.asynchronous)),
    "goodput.waiting_days": (
        "failures × what one waits for a repaired node / 86400",
        "nodes under repair are Poisson distributed; planner/failures.py",
        cost.known(cost.waiting),
    ),
    "goodput.spare_worth_days": (
        "failures × (a failure waits - with one spare more) / 86400",
        "nodes under repair are Poisson distributed; planner/failures.py",
        cost.known(cost.waiting),
    ),
    "goodput.checkpoints_kept_bytes": (
        "checkpoint_bytes × (checkpoint.keep + 1)",
        "planner/checkpoints.py",
        cost.known(cost.kept),
    ),
    "goodput.checkpoint_bytes_per_day": (
        "checkpoint_bytes × 86400 / (interval_steps × mean step)",
        "planner/checkpoints.py",
        cost.known(cost.written),
    ),
    "goodput.energy_mwh": (
        "goodput.gpu_hours × watts / 10^6, of the GPUs alone",
        "design power in the GPU's data file",
        cost.known(cost.energy),
    ),
    "goodput.price": (
        "goodput.gpu_hours × price.gpu_hour, else site.gpu_hour_price",
        "the recipe or the site",
        cost.known(cost.price),
    ),
}
"""By key of ``plan --json``, list positions left out."""
