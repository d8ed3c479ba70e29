"""Wall clock as Slurm writes it, and how early the ranks must know that it ends."""

import math
import re

from llmtrain.config.errors import LaunchError, Problem
from llmtrain.planner.plan import Plan, plan_json

STEP_SECONDS = 60.0
"""Taken for a step where the plan does not know it."""
WRITE_SECONDS = 600.0
"""Taken for writing a checkpoint where size or storage speed is not known."""
MARGIN_SECONDS = 60.0
"""Slurm looks at its clock about once a minute (sbatch(1), ``--signal``)."""
LONGEST_LEAD = 65535
"""What ``--signal`` takes at the most (sbatch(1))."""

PATTERNS = (
    r"(?P<m>\d+)(:(?P<s>\d+))?",
    r"(?P<h>\d+):(?P<m>\d+):(?P<s>\d+)",
    r"(?P<d>\d+)-(?P<h>\d+)(:(?P<m>\d+)(:(?P<s>\d+))?)?",
)
"""minutes[:seconds], hours:minutes:seconds, days-hours[:minutes[:seconds]] (sbatch(1))."""
UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def limit_seconds(text: str) -> int | None:
    """Seconds of a time limit; None: unlimited.

    Raises:
        LaunchError: if it is no time that Slurm knows.
    """
    if text.lower() in ("unlimited", "infinite"):
        return None
    for pattern in PATTERNS:
        found = re.fullmatch(pattern, text)
        if found:
            return sum(UNITS[unit] * int(count or 0) for unit, count in found.groupdict().items())
    says = f"= {text!r} is no time: minutes, HH:MM:SS or D-HH:MM:SS"
    raise LaunchError(Problem(code="invalid_time", key="site.time_limit", says=says))


def lead_seconds(plan: Plan) -> int:
    """How long before the time limit the ranks are told: two steps, a checkpoint, a margin.

    At the most half of the limit.
    """
    site = plan.recipe.site
    if site.slurm.lead_seconds is not None:
        return min(site.slurm.lead_seconds, LONGEST_LEAD)
    step = plan_json(plan).get("step_seconds") or STEP_SECONDS
    wanted = 2 * step + _write_seconds(plan) + MARGIN_SECONDS
    limit = limit_seconds(site.time_limit) if site.time_limit else None
    most = LONGEST_LEAD if limit is None else min(LONGEST_LEAD, limit / 2)
    return max(1, math.ceil(min(wanted, most)))


def lead_reason(plan: Plan) -> str:
    """Where the lead time comes from, in words."""
    if plan.recipe.site.slurm.lead_seconds is not None:
        return "site.slurm.lead_seconds"
    step = plan_json(plan).get("step_seconds")
    known = f"{step:.1f} s" if step else f"taken as {STEP_SECONDS:.0f} s"
    write = f"{_write_seconds(plan):.0f} s{'' if _write_is_known(plan) else ' by default'}"
    return f"two steps ({known}), writing a checkpoint ({write}) and {MARGIN_SECONDS:.0f} s"


def _write_is_known(plan: Plan) -> bool:
    speed = plan.recipe.site.checkpoint_gb_per_s
    return bool(speed and plan_json(plan).get("checkpoint_bytes"))


def _write_seconds(plan: Plan) -> float:
    size, speed = plan_json(plan).get("checkpoint_bytes"), plan.recipe.site.checkpoint_gb_per_s
    return float(size) / (speed * 1e9) if size and speed else WRITE_SECONDS
