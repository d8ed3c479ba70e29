"""The ``#SBATCH`` lines of a job, from the plan and its site."""

import re
from collections.abc import Iterator

from llmtrain.config.errors import LaunchError, Problem
from llmtrain.config.site import Site
from llmtrain.launchers.schedulers.slurm_time import lead_seconds, limit_seconds
from llmtrain.planner.plan import Plan

SINCE = {"segment": (24, 5), "hetjob": (20, 2)}
"""Slurm's release that brought an option (SchedMD/slurm, CHANGELOG/slurm-24.05.md and NEWS)."""

Option = tuple[str, str | None]


def header(plan: Plan) -> list[str]:
    """The lines; one block for each part of a heterogeneous job.

    Raises:
        LaunchError: if a value cannot stand in such a line, or this Slurm lacks an option.
    """
    slurm = plan.recipe.site.slurm
    if not slurm.groups:
        return [line(*option) for option in options(plan)]
    _require_parts(plan)
    lines: list[str] = []
    for number, (nodes, partition) in enumerate(zip(slurm.groups, slurm.partitions, strict=True)):
        own = {"partition": partition, "nodes": str(nodes)}
        part = [(key, own.get(key, value)) for key, value in options(plan)]
        kept = part if number == 0 else [each for each in part if each[0] not in WHOLE_JOB]
        lines += [*(["#SBATCH hetjob"] if number else []), *(line(*each) for each in kept)]
    return lines


WHOLE_JOB = ("job-name", "signal", "open-mode", "requeue", "no-requeue", "array", "time")
"""Options of a heterogeneous job that its first part gives for all."""


def options(plan: Plan) -> list[Option]:
    """Long options with their values; None: it has none."""
    found = [*_whose(plan), *_resources(plan), *_life(plan)]
    site = plan.recipe.site
    given = [(name, value or None) for name, value in site.slurm.options.items()]
    names = {name for name, _ in given}
    return [option for option in found if option[0] not in names] + given


def job_name(name: str) -> str:
    """``name`` with what a job's name cannot hold replaced."""
    return re.sub(r"[^\w.+-]+", "_", name)[:60] or "llmtrain"


def tasks_per_node(plan: Plan) -> int:
    """Tasks that Slurm starts on each node."""
    return plan.ranks_per_node if plan.recipe.site.launch == "srun" else 1


def cpus_per_task(plan: Plan) -> int | None:
    """CPUs of one task; None: the job finds out."""
    site, cluster = plan.recipe.site, plan.recipe.cluster
    cpus = site.slurm.cpus_per_node
    if cpus is None and not site.slurm.exclusive:
        cpus = cluster.cpu_cores_per_node
    return None if cpus is None else max(1, cpus // tasks_per_node(plan))


def require_since(site: Site, what: str, key: str) -> None:
    """Refuse an option that this Slurm does not know.

    Raises:
        LaunchError: naming the release that brought it.
    """
    since, version = SINCE[what], site.slurm.version
    if version is not None and tuple(int(part) for part in version.split(".")[:2]) >= since:
        return
    release = f"{since[0]}.{since[1]:02d}"
    has = f"this one is {version}" if version else "`site.slurm.version` is not given"
    raise LaunchError(Problem(code="too_old", key=key, says=f"needs Slurm {release}; {has}"))


def _whose(plan: Plan) -> Iterator[Option]:
    site = plan.recipe.site
    yield "job-name", job_name(plan.recipe.run_name)
    for name in ("account", "partition", "qos"):
        value = getattr(site, name)
        if value is not None or (name == "partition" and site.slurm.groups):
            yield name, value or ""
    if site.slurm.reservation is not None:
        yield "reservation", site.slurm.reservation


def _resources(plan: Plan) -> Iterator[Option]:
    recipe, slurm = plan.recipe, plan.recipe.site.slurm
    yield "nodes", str(plan.nodes + recipe.nodes.spare)
    yield "ntasks-per-node", str(tasks_per_node(plan))
    cpus = cpus_per_task(plan)
    if cpus is not None:
        yield "cpus-per-task", str(cpus)
    if recipe.cluster.device == "cuda":
        yield from _gpus(recipe.site, plan.ranks_per_node)
    if slurm.memory is not None:
        yield "mem", slurm.memory
    if slurm.exclusive:
        yield "exclusive", None
    if slurm.constraint is not None:
        yield "constraint", slurm.constraint
    if slurm.exclude:
        yield "exclude", ",".join(slurm.exclude)
    if slurm.segment is not None:
        require_since(recipe.site, "segment", "site.slurm.segment")
        yield "segment", str(slurm.segment)
    if slurm.switches is not None:
        yield "switches", slurm.switches
    yield "wait-all-nodes", "1"


def _gpus(site: Site, count: int) -> Iterator[Option]:
    kind = f"{site.slurm.gpu_type}:" if site.slurm.gpu_type else ""
    if site.gres == "gres":
        yield "gres", f"gpu:{kind}{count}"
    elif site.gres == "gpus-per-node":
        yield "gpus-per-node", f"{kind}{count}"


def _life(plan: Plan) -> Iterator[Option]:
    site = plan.recipe.site
    if site.time_limit is not None:
        limit_seconds(site.time_limit)
        yield "time", site.time_limit
    yield "signal", f"B:USR1@{lead_seconds(plan)}"
    yield "open-mode", "append"
    yield ("requeue" if site.slurm.restart == "requeue" else "no-requeue"), None
    if site.slurm.restart == "array":
        yield "array", f"1-{site.slurm.jobs}%1"
    if plan.recipe.nodes.spare:
        yield "no-kill", None


def _require_parts(plan: Plan) -> None:
    site = plan.recipe.site
    require_since(site, "hetjob", "site.slurm.groups")
    nodes = plan.nodes + plan.recipe.nodes.spare
    problems = []
    if sum(site.slurm.groups) != nodes:
        says = f"= {list(site.slurm.groups)} are not the {nodes} nodes of the run"
        problems.append(Problem(code="not_a_sum", key="site.slurm.groups", says=says))
    if site.slurm.restart == "array":
        says = "= array does not go with a heterogeneous job"
        problems.append(Problem(code="conflict", key="site.slurm.restart", says=says))
    says = "does not go with a heterogeneous job"
    if plan.recipe.nodes.spare:
        problems.append(Problem(code="conflict", key="nodes.spare", says=says))
    if site.software == "sbcast":
        problems.append(Problem(code="conflict", key="site.software", says=f"= sbcast {says}"))
    if problems:
        raise LaunchError(problems)


def line(name: str, value: str | None) -> str:
    """One line. What a shell or Slurm's own reader of these lines would see is refused."""
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
        says = f"{name!r} is no option of sbatch"
        raise LaunchError(Problem(code="invalid_option", key="site.slurm.options", says=says))
    if value is None:
        return f"#SBATCH --{name}"
    if not value or not value.isprintable() or re.search(r"[\s'\"\\#]", value):
        says = f"--{name}={value!r} cannot stand in a batch script"
        hint = "without spaces, quotes, backslashes and #"
        raise LaunchError(Problem(code="unwritable", says=says, hint=hint))
    return f"#SBATCH --{name}={value}"
