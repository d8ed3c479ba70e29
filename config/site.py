"""Local custom of one cluster: scheduler, containers, storage, and how the ranks are started."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from llmtrain.config.checks import at_least, positive, require, variable_names
from llmtrain.config.errors import Problem
from llmtrain.config.preflight import Preflight


@dataclass(frozen=True, kw_only=True, slots=True)
class Container:
    """What the ranks run in."""

    runtime: Literal["none", "pyxis", "apptainer"] = "none"
    """pyxis: enroot under Slurm."""
    image: str | None = None
    """The image, by digest."""
    mount_home: bool = False
    """The user's home is seen inside."""
    writable: bool = False
    """The image's files may be written to, for the life of the job."""

    def __post_init__(self) -> None:
        if self.runtime != "none" and not self.image:
            says = f"is needed with `site.container.runtime={self.runtime}`"
            require(Problem(code="missing", key="image", says=says))


@dataclass(frozen=True, kw_only=True, slots=True)
class Slurm:
    """How this Slurm is asked. null: its own default."""

    version: str | None = None
    """Its version, for example ``23.11.4``; options that came later are refused."""
    exclusive: bool = True
    """Whole nodes."""
    memory: str | None = None
    """Memory of a node as ``--mem`` has it; ``0`` is all of it."""
    gpu_type: str | None = None
    """The type in ``--gres=gpu:TYPE:8``."""
    cpus_per_node: int | None = None
    """CPUs of a node as Slurm counts them; null: what the job finds on its first node."""
    cpu_bind: str = "none"
    """``srun --cpu-bind``; none: each rank binds itself to the NUMA node of its GPU."""
    constraint: str | None = None
    """Node features."""
    reservation: str | None = None
    """A reservation to run in."""
    exclude: tuple[str, ...] = ()
    """Nodes that are not wanted."""
    segment: int | None = None
    """Nodes that must lie in one block (``--segment``, Slurm 24.05)."""
    switches: str | None = None
    """Leaf switches at the most, and how long to wait for them: ``2@12:00:00``."""
    groups: tuple[int, ...] = ()
    """Node counts of the parts of a heterogeneous job; empty: one part."""
    partitions: tuple[str, ...] = ()
    """Partition of each part."""
    restart: Literal["none", "requeue", "chain", "array"] = "requeue"
    """How a run goes on in the next job: the same job again, a job that waits for this one, or
    the next task of an array of which one runs at a time."""
    jobs: int = 20
    """Jobs that one run may take with restart: chain or array."""
    max_restarts: int = 2
    """Restarts in a row that make no new checkpoint; the next is not made. A failure of the ranks
    is answered by a restart, in the same job where its nodes are there. 0: it ends the run."""
    lead_seconds: int | None = None
    """The ranks are told so long before the time limit; null: computed from the plan."""
    rank_order: Literal["topology", "slurm"] = "topology"
    """topology: the nodes of one switch get neighbouring ranks where that saves traffic."""
    host_suffix: str = ""
    """Makes a node's name that of its fast interface, for example ``i``."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Further ``sbatch`` options, by long name."""
    srun_options: Mapping[str, str] = field(default_factory=dict)
    """Further ``srun`` options, by long name."""

    def __post_init__(self) -> None:
        require(
            self._version_problem(),
            at_least("cpus_per_node", self.cpus_per_node, 1),
            at_least("segment", self.segment, 1),
            at_least("jobs", self.jobs, 1),
            at_least("max_restarts", self.max_restarts, 0),
            positive("lead_seconds", self.lead_seconds),
            *(at_least("groups", count, 1) for count in self.groups),
            self._parts_problem(),
        )

    def _version_problem(self) -> Problem | None:
        if self.version is None or re.fullmatch(r"\d+\.\d+(\.[\w.-]+)?", self.version):
            return None
        says = f"= {self.version!r} is no version of Slurm such as 23.11.4"
        return Problem(code="invalid_version", key="version", says=says)

    def _parts_problem(self) -> Problem | None:
        if len(self.partitions) == len(self.groups):
            return None
        says = f"names {len(self.partitions)} for {len(self.groups)} parts (`site.slurm.groups`)"
        return Problem(code="wrong_length", key="partitions", says=says)


@dataclass(frozen=True, kw_only=True, slots=True)
class Secrets:
    """Values that no file of a run may hold."""

    names: tuple[str, ...] = ()
    """Variables that the ranks need, for example ``HF_TOKEN``."""
    file: str = "~/.config/llmtrain/secrets"
    """``NAME=value`` lines; only its owner may be able to read it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """Local custom of one cluster."""

    name: str = "none"
    """As in ``site=NAME``."""
    scheduler: Literal["local", "slurm", "hostfile"] = "local"
    """Who starts the job; hostfile: ssh to the nodes of ``site.hosts``."""
    hosts: tuple[str, ...] = ()
    """Nodes of a hostfile launch, in the order of their ranks."""
    launch: Literal["torchrun", "srun", "c10d", "ft_launcher"] = "torchrun"
    """Who starts the ranks of a node: torchrun with a static rendezvous, Slurm itself (one task
    for each GPU), torchrun with c10d, or NVIDIA's ft_launcher."""
    account: str | None = None
    """Slurm account."""
    partition: str | None = None
    """Slurm partition."""
    cpu_partition: str | None = None
    """Slurm partition for what needs no GPU: there the index of the data is built, in a job that
    the run's job waits for; null: the ranks build it."""
    qos: str | None = None
    """Slurm quality of service."""
    time_limit: str | None = None
    """Wall clock of one job, as Slurm writes it."""
    mpi: str | None = None
    """``srun --mpi``; null: the site's default."""
    gres: Literal["gres", "gpus-per-node", "none"] = "gpus-per-node"
    """How GPUs are asked for."""
    slurm: Slurm = field(default_factory=Slurm)
    """How this Slurm is asked. null: its own default."""
    container: Container = field(default_factory=Container)
    """What the ranks run in."""
    mounts: tuple[str, ...] = ()
    """``host:container`` pairs."""
    modules: tuple[str, ...] = ()
    """Environment modules that the job loads."""
    python: str | None = None
    """Interpreter on the nodes; null: the one that prepared the run, in a container ``python``."""
    software: Literal["shared", "sbcast"] = "shared"
    """Where the nodes read the interpreter's virtual environment: in place, or a copy that the job
    sends to each node's ``site.nvme``, since thousands of ranks stall a shared file system."""
    numa: bool = True
    """Each rank runs on the NUMA node of its GPU."""
    probe: Literal["fail", "warn", "off"] = "fail"
    """What happens when a node's environment is not the one that was asked for."""
    preflight: Preflight = field(default_factory=Preflight)
    """What is looked at on every node of a job before a rank starts, and what follows from it."""
    secrets: Secrets = field(default_factory=Secrets)
    """Values that no file of a run may hold."""
    runs: str | None = None
    """Where run folders are made."""
    checkpoints: str | None = None
    """Where checkpoints go: the run's ``checkpoints`` becomes a link to a folder of its name there;
    null: into the run's folder."""
    scratch: str | None = None
    """Fast shared storage."""
    nvme: str | None = None
    """Node-local storage."""
    checkpoint_gb_per_s: float | None = None
    """What the checkpoint storage takes, decimal GB/s of all nodes together."""
    checkpoint_quota_bytes: int | None = None
    """Space for checkpoints; null: not limited here."""
    restart_seconds: float | None = None
    """From a failure to the first new step, reading the checkpoint left out; null: a prior."""
    umask: str | None = None
    """Of the run's files, for example ``0027``."""
    group: str | None = None
    """Unix group of the run's files."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Values that only the site knows; they win over the cluster's."""
    sharp: bool = False
    """The fabric's in-network reduction is there and may be used."""
    node_days_per_failure: float | None = None
    """Node-days between two failures."""
    gpu_hour_price: float | None = None
    """Price of a GPU-hour."""
    gpu_hour_limit: float | None = None
    """Above this many GPU-hours a launch asks first."""

    def __post_init__(self) -> None:
        require(
            positive("node_days_per_failure", self.node_days_per_failure),
            positive("checkpoint_gb_per_s", self.checkpoint_gb_per_s),
            positive("checkpoint_quota_bytes", self.checkpoint_quota_bytes),
            at_least("restart_seconds", self.restart_seconds, 0),
            at_least("gpu_hour_price", self.gpu_hour_price, 0),
            at_least("gpu_hour_limit", self.gpu_hour_limit, 0),
            *variable_names(self.env),
            self._umask_problem(),
            self._software_problem(),
        )

    def _umask_problem(self) -> Problem | None:
        if self.umask is None or re.fullmatch(r"[0-7]{3,4}", self.umask):
            return None
        says = f"= {self.umask!r} is no umask such as 0027"
        return Problem(code="invalid_umask", key="umask", says=says)

    def _software_problem(self) -> Problem | None:
        if self.software == "shared":
            return None
        if self.container.runtime != "none":
            says = f"= sbcast does not go with `site.container.runtime={self.container.runtime}`"
            return Problem(code="conflict", key="software", says=says)
        if self.nvme:
            return None
        says = "is needed with `site.software=sbcast`: the copy lies there"
        return Problem(code="missing", key="nvme", says=says)
