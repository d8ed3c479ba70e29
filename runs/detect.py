"""What a cluster's custom is, by asking the machine: for ``llmtrain site detect``."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from llmtrain.config.errors import LaunchError
from llmtrain.runs.slurm import Unreachable, ask_slurm

FABRIC = Path("/sys/class/infiniband")


@dataclass(frozen=True, kw_only=True, slots=True)
class Partition:
    """One of Slurm's partitions."""

    name: str
    """As in ``site.partition``."""
    default: bool
    """A job that names none goes here."""
    max_time: str
    """Longest wall clock, as Slurm writes it."""
    nodes: int
    """Nodes there are."""
    max_nodes: int | None
    """Nodes that one job may have; None: all."""
    gres: tuple[str, ...] = ()
    """What its nodes offer, for example ``gpu:h100:8``."""
    cpus: int | None = None
    """CPUs of a node, the fewest."""
    up: bool = True
    """It takes jobs."""
    preemption: str = "OFF"
    """What happens to its jobs when others are more urgent."""
    grace_seconds: int = 0
    """Time that a preempted job is given."""

    @property
    def gpus_per_node(self) -> int | None:
        """Of the node with most of them; None: Slurm does not say."""
        words = (gres.split(":") for each in self.gres for gres in each.split(","))
        counts = [int(found[-1]) for found in words if found[0] == "gpu" and found[-1].isdigit()]
        return max(counts, default=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What the machine says of itself."""

    cluster: str
    """Its name."""
    version: str
    """Slurm's."""
    config: Mapping[str, str]
    """``scontrol show config``."""
    partitions: tuple[Partition, ...]
    """All of them."""
    qos: Mapping[str, str] = field(default_factory=dict)
    """Quality of service: name to longest wall clock."""
    account: str | None = None
    """The user's default."""
    accounts: tuple[str, ...] = ()
    """All that the user may name."""
    mpi: tuple[str, ...] = ()
    """What ``srun --mpi`` knows."""
    runtimes: tuple[str, ...] = ()
    """pyxis, apptainer, singularity, enroot: those that are here."""
    fabric: tuple[str, ...] = ()
    """InfiniBand devices of this machine."""


def detect() -> Facts:
    """Ask Slurm and the machine.

    Raises:
        LaunchError: if there is no Slurm, or it does not answer.
    """
    config = _config(_ask("scontrol", "show", "config"))
    return Facts(
        cluster=config.get("ClusterName", "cluster"),
        version=config.get("SLURM_VERSION", ""),
        config=config,
        partitions=partitions(),
        qos=qos(),
        account=next(iter(_users("user", "defaultaccount")), None),
        accounts=_users("assoc", "account"),
        mpi=tuple(re.findall(r"^\s+([a-z]\w*)\s*$", _list_of_mpi(), re.MULTILINE)),
        runtimes=_runtimes(),
        fabric=tuple(sorted(path.name for path in FABRIC.glob("*"))),
    )


def partitions() -> tuple[Partition, ...]:
    """Slurm's partitions.

    Raises:
        LaunchError: if it does not answer.
    """
    shapes: dict[str, list[tuple[int, str]]] = {}
    for line in _ask("sinfo", "--noheader", "--all", "--format=%R|%c|%G").splitlines():
        name, cpus, gres = line.split("|", 2)
        shapes.setdefault(name, []).append((int(re.sub(r"\D", "", cpus) or 0), gres))
    found = []
    for line in _ask("scontrol", "--oneliner", "show", "partition").splitlines():
        said = dict(re.findall(r"(\w+)=(\S*)", line))
        if "PartitionName" in said:
            found.append(_partition(said, shapes.get(said["PartitionName"], [])))
    return tuple(found)


def _partition(said: Mapping[str, str], shapes: list[tuple[int, str]]) -> Partition:
    most = said.get("MaxNodes", "UNLIMITED")
    return Partition(
        name=said["PartitionName"],
        default=said.get("Default") == "YES",
        max_time=said.get("MaxTime", "UNLIMITED"),
        nodes=int(said.get("TotalNodes", "0")),
        max_nodes=int(most) if most.isdigit() else None,
        gres=tuple(sorted({_plain(gres) for _, gres in shapes} - {"(null)"})),
        cpus=min((cpus for cpus, _ in shapes), default=None),
        up=said.get("State", "UP") == "UP",
        preemption=said.get("PreemptMode", "OFF"),
        grace_seconds=int(said["GraceTime"]) if said.get("GraceTime", "").isdigit() else 0,
    )


def _plain(gres: str) -> str:
    """``gpu:h100:8(S:0-1)`` without its sockets."""
    return re.sub(r"\([^)]*\)", "", gres) if gres != "(null)" else gres


def _config(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def qos() -> dict[str, str]:
    """Quality of service: name to longest wall clock; empty where there is no accounting."""
    text = _ask("sacctmgr", "-nP", "show", "qos", "format=name,maxwall", may_fail=True)
    pairs = (line.partition("|") for line in text.splitlines() if line.strip())
    return {name: wall.strip("|") or "no limit" for name, _, wall in pairs}


def _users(kind: str, field: str) -> tuple[str, ...]:
    """What accounting knows of this user, in its order."""
    who = _ask("id", "-un", may_fail=True).strip()
    key = "name" if kind == "user" else "user"
    words = ("sacctmgr", "-nP", "show", kind, f"{key}={who}", f"format={field}")
    return tuple(dict.fromkeys(_ask(*words, may_fail=True).split()))


def _list_of_mpi() -> str:
    """It is said on stderr by some releases, on stdout by others."""
    try:
        done = ask_slurm("srun", "--mpi=list")
    except Unreachable:
        return ""
    return done.stdout + done.stderr


def _runtimes() -> tuple[str, ...]:
    found = ["pyxis"] if "--container-image" in _ask("srun", "--help", may_fail=True) else []
    here = [name for name in ("apptainer", "singularity", "enroot") if shutil.which(name)]
    return (*found, *here)


def _ask(*words: str, may_fail: bool = False) -> str:
    try:
        done = ask_slurm(*words)
    except Unreachable as error:
        if may_fail:
            return ""
        raise LaunchError(f"no Slurm to be asked here: {error}") from error
    if done.returncode != 0 and not may_fail:
        raise LaunchError(f"Slurm does not answer: {done.stderr.strip()}")
    return done.stdout if done.returncode == 0 else ""
