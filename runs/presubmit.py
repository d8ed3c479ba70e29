"""What can be known before a job waits for days: limits, paths, space, cost, predicted start."""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from llmtrain.config.errors import LaunchError, Problem
from llmtrain.config.home import expanded
from llmtrain.launchers.launch import Launch
from llmtrain.launchers.schedulers.slurm_time import limit_seconds
from llmtrain.planner.plan import Plan, plan_json
from llmtrain.runs.detect import Partition, partitions, qos
from llmtrain.runs.excluded import exclude_option
from llmtrain.runs.slurm import Unreachable, ask_slurm, said


def require_within_limits(plan: Plan) -> None:
    """Hold the request against its partition.

    Raises:
        LaunchError: with everything that the partition does not give.
    """
    site = plan.recipe.site
    known = {each.name: each for each in partitions()}
    name = site.partition or next((each.name for each in known.values() if each.default), "")
    if site.cpu_partition is not None and site.cpu_partition not in known:
        raise LaunchError(_no_partition("site.cpu_partition", site.cpu_partition, known))
    if site.slurm.groups or "," in name:
        return
    if name not in known:
        raise LaunchError(_no_partition("site.partition", name, known))
    problems = [*_beyond(plan, known[name]), *_beyond_qos(plan)]
    if problems:
        raise LaunchError(problems)


def _no_partition(key: str, name: str, known: Iterable[str]) -> Problem:
    says = f"= {name!r} is no partition of this Slurm"
    return Problem(code="no_partition", key=key, says=says, hint=f"partitions: {', '.join(known)}")


def _beyond(plan: Plan, partition: Partition) -> Iterator[Problem]:
    site, nodes = plan.recipe.site, plan.nodes + plan.recipe.nodes.spare
    most = min(partition.max_nodes or partition.nodes, partition.nodes)
    if nodes > most:
        says = f"the run needs {nodes} nodes; partition {partition.name} gives one job {most}"
        yield Problem(code="too_many_nodes", says=says)
    if not partition.up:
        yield Problem(code="closed", says=f"partition {partition.name} takes no jobs now")
    offered = partition.gpus_per_node
    if plan.recipe.cluster.device == "cuda" and offered and plan.ranks_per_node > offered:
        says = f"the run needs {plan.ranks_per_node} GPUs of a node; {partition.name} has {offered}"
        yield Problem(code="too_many_gpus", says=says)
    yield from _too_long(site.time_limit, partition.max_time, partition.name)


def _beyond_qos(plan: Plan) -> Iterator[Problem]:
    name, known = plan.recipe.site.qos, qos()
    if name is None or not known:
        return
    if name not in known:
        says = f"= {name!r} is no quality of service of this Slurm: {', '.join(known)}"
        yield Problem(code="no_qos", key="site.qos", says=says)
    elif known[name] != "no limit":
        yield from _too_long(plan.recipe.site.time_limit, known[name], f"qos {name}")


def _too_long(asked: str | None, most: str, whose: str) -> Iterator[Problem]:
    wanted = limit_seconds(asked) if asked else 0
    longest = limit_seconds(most)
    if longest is not None and (wanted is None or wanted > longest):
        says = f"= {asked} is above the {most} of {whose}"
        yield Problem(code="too_long", key="site.time_limit", says=says)


def require_paths(plan: Plan) -> None:
    """Look for what the job will open, where this machine can see it.

    Raises:
        LaunchError: naming each path that is not there.
    """
    found = ((key, path, _trouble(path)) for key, path in _paths(plan))
    problems = [
        Problem(code="no_path", key=key, says=f"= {path} {says}")
        for key, path, says in found
        if says
    ]
    if problems:
        raise LaunchError(problems)


def _trouble(path: str) -> str:
    if not path.startswith(("/", "~")):
        return "is relative: the ranks work in the run's folder"
    return "" if expanded(path).exists() else "does not exist here"


def _paths(plan: Plan) -> Iterator[tuple[str, str]]:
    recipe, site = plan.recipe, plan.recipe.site
    if site.container.runtime == "none":
        if recipe.backend.path:
            yield "backend.path", recipe.backend.path
        if site.python and "/" in site.python:
            yield "site.python", site.python
    elif site.container.image and site.container.image.startswith("/"):
        yield "site.container.image", site.container.image
    for mount in site.mounts if site.container.runtime != "none" else ():
        yield "site.mounts", mount.split(":")[0]
    for path in recipe.data.paths:
        yield "data.paths", f"{path}.idx"
    if site.checkpoints:
        yield "site.checkpoints", site.checkpoints
    if site.secrets.names:
        yield "site.secrets.file", site.secrets.file


def space_warnings(plan: Plan, root: Path) -> tuple[str, ...]:
    """Whether the checkpoints that are kept find room: on the disk, and in the user's quota."""
    size = plan_json(plan).get("checkpoint_bytes")
    place = Path(plan.recipe.site.checkpoints or root)
    while not place.exists():
        place = place.parent
    if not size:
        return ()
    # One more than are kept: the oldest goes when the newest is complete.
    needed = size * (plan.recipe.checkpoint.keep + 1)
    rooms = {"has": shutil.disk_usage(place).free, "your quota leaves you": quota_left(place)}
    return tuple(
        f"checkpoints need {needed / 1e12:.2f} TB; on {place} {who} {room / 1e12:.2f} TB"
        for who, room in rooms.items()
        if room is not None and needed > room
    )


def quota_left(place: Path) -> int | None:
    """Bytes that this user may still write there, where Lustre knows; None: not limited."""
    try:
        done = ask_slurm("lfs", "quota", "-q", "-u", str(os.getuid()), str(place))
    except Unreachable:
        return None
    # file system, KiB (with a star above the quota), quota, limit, grace, …
    words = done.stdout.replace("*", "").split()
    if done.returncode != 0 or len(words) < 4 or not all(w.isdigit() for w in words[1:4]):
        return None
    used, *limits = (int(word) * 1024 for word in words[1:4])
    most = min((limit for limit in limits if limit), default=None)
    return None if most is None else max(0, most - used)


def predicted_start(launch: Launch, root: Path) -> str | None:
    """When the job would start, as ``sbatch --test-only`` says it; ``root``: where its folder goes.

    Raises:
        LaunchError: with what Slurm said, if it would refuse the job.
    """
    script = launch.files[launch.script]
    options = exclude_option(script, root)
    try:
        done = ask_slurm("sbatch", "--test-only", *options, text=script, seconds=60)
    except Unreachable as error:
        raise LaunchError(f"the job cannot be submitted: {error}") from error
    if done.returncode != 0:
        raise LaunchError(Problem(code="refused", says=f"Slurm refuses the job: {said(done)}"))
    found = re.search(r"to start at (\S+)", done.stderr)
    return found.group(1) if found else None


def gpu_hours(plan: Plan) -> float | None:
    """What one job may cost at the most; the whole run where it has no time limit."""
    site = plan.recipe.site
    limit = limit_seconds(site.time_limit) if site.time_limit else None
    if limit is not None:
        return plan.recipe.gpus * limit / 3600
    known = plan_json(plan).get("gpu_hours")
    return float(known) if known is not None else None


def must_confirm(plan: Plan) -> str | None:
    """The question to ask before this is submitted; None: nothing to ask."""
    limit, hours = plan.recipe.site.gpu_hour_limit, gpu_hours(plan)
    if limit is None or (hours is not None and hours <= limit):
        return None
    cost = "an unknown number of" if hours is None else f"up to {hours:,.0f}"
    return f"This takes {cost} GPU-hours; the site asks above {limit:,.0f}. Submit it?"
