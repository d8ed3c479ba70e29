"""A site as YAML, from what was detected: keys with their reasons, the rest as comments."""

from collections.abc import Iterator

import yaml

from llmtrain.runs.detect import Facts, Partition


def site_yaml(facts: Facts) -> str:
    """The text of ``site/NAME.yaml``."""
    return "\n".join([*_head(facts), *_job(facts), *_slurm(facts), *_container(facts)]) + "\n"


def chosen(facts: Facts) -> Partition | None:
    """The default partition, or the largest with GPUs."""
    usable = [each for each in facts.partitions if each.up and each.nodes]
    with_gpus = [each for each in usable if any(g.startswith("gpu") for g in each.gres)]
    defaults = [each for each in with_gpus if each.default]
    return max(defaults or with_gpus or usable, key=lambda each: each.nodes, default=None)


def _head(facts: Facts) -> Iterator[str]:
    yield f"# Written by `llmtrain site detect` from Slurm {facts.version}; look through it once."
    yield "# Partitions (longest job, nodes, nodes of one job, what a node offers):"
    for each in facts.partitions:
        most = each.max_nodes or "all"
        offers = " ".join(each.gres) or "no gres"
        mark = "" if each.up else ", closed"
        yield f"#   {each.name}: {each.max_time}, {each.nodes}, {most}, {offers}{mark}"
    if facts.qos:
        shown = ", ".join(f"{name} ({wall})" for name, wall in facts.qos.items())
        yield f"# Quality of service (longest job): {shown}"
    yield from _ends(facts)
    yield f"# Switches that Slurm knows of: {facts.config.get('TopologyPlugin', 'unknown')}"
    yield f"# InfiniBand devices here: {', '.join(facts.fabric) or 'none'}"


def _ends(facts: Facts) -> Iterator[str]:
    """How a job is told that its time is over."""
    graces = [f"{each.name} {each.grace_seconds} s" for each in facts.partitions]
    mode = facts.config.get("PreemptMode", "OFF")
    yield f"# Preemption: {mode}; grace: {', '.join(graces)}"
    early = "user_signal" in facts.config.get("PreemptParameters", "")
    signal = "the signal of --signal" if early else "SIGTERM"
    yield f"# A preempted job gets {signal}; KillWait {facts.config.get('KillWait', 'unknown')}"


def _job(facts: Facts) -> Iterator[str]:
    partition = chosen(facts)
    yield f"name: {_text(facts.cluster)}"
    yield "scheduler: slurm"
    others = f"  # of {', '.join(facts.accounts)}" if len(facts.accounts) > 1 else ""
    yield f"account: {_text(facts.account)}{others}"
    yield f"partition: {_text(partition.name if partition else None)}"
    limited = partition is not None and partition.max_time.upper() != "UNLIMITED"
    yield f"time_limit: {_text(partition.max_time if partition and limited else None)}"
    pmix = next((name for name in facts.mpi if name.startswith("pmix")), None)
    usual = facts.config.get("MpiDefault", "none")
    known = ", ".join(facts.mpi) or "unknown"
    yield f"# srun --mpi knows: {known}; {usual} by default. torchrun needs none."
    yield f"mpi: null{f'  # {pmix} for launch: srun with MPI programs' if pmix else ''}"
    gpus = [each for each in (partition.gres if partition else ()) if each.startswith("gpu")]
    style = "gpus-per-node" if "tres" in facts.config.get("SelectType", "tres") else "gres"
    yield f"gres: {style if gpus else 'none'}"


def _slurm(facts: Facts) -> Iterator[str]:
    partition = chosen(facts)
    yield "slurm:"
    yield f"  version: {_text(facts.version)}"
    types = {gres.split(":")[1] for gres in (partition.gres if partition else ()) if _typed(gres)}
    if len(types) == 1:
        yield f"  gpu_type: {_text(next(iter(types)))}"
    for name in ("DefMemPerNode", "DefMemPerCPU", "DefMemPerGPU"):
        limit = facts.config.get(name, "UNLIMITED")
        if limit not in ("UNLIMITED", "0"):
            yield f"  memory: '0'  # all of it: {name}={limit} is less than a node has"
    requeue = facts.config.get("JobRequeue", "0") == "1"
    yield f"  restart: {'requeue' if requeue else 'chain'}  # JobRequeue={int(requeue)}"


def _container(facts: Facts) -> Iterator[str]:
    yield f"# Container runtimes here: {', '.join(facts.runtimes) or 'none'}."
    if "pyxis" in facts.runtimes:
        yield "# container: {runtime: pyxis, image: 'registry#name@sha256:…'}"
    elif "apptainer" in facts.runtimes:
        yield "# container: {runtime: apptainer, image: /path/to/image.sif}"
    yield "# What only you know: runs, checkpoints, scratch, nvme, mounts, env, gpu_hour_limit."


def _typed(gres: str) -> bool:
    return gres.startswith("gpu:") and gres.count(":") >= 2


def _text(value: str | None) -> str:
    """A scalar that YAML reads back as this text: a time such as 10:00 is a number to YAML."""
    if value is None:
        return "null"
    return str(yaml.safe_dump(value, default_style="'", allow_unicode=True)).strip()
