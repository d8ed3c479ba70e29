"""Where a recipe runs: cluster (hardware facts), backend (which program). Sites: site.py."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from llmtrain.config.checks import at_least, positive, require, variable_names

Level = Literal[
    "required",
    "recommended",
    "conditional",
    "optional",
    "site",
    "vendor",
    "rule-of-thumb",
    "default-explicit",
    "determinism-only",
    "legacy-only",
    "benchmark-only",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvFact:
    """What a cluster's data says of one environment variable."""

    value: str
    """As it is exported; ``<...>`` is a place that the site must fill in."""
    level: Level
    """required, recommended and conditional (by rule) are rendered."""
    why: str
    """What it does here."""
    source: str
    """Where this was read."""
    not_when: str = ""
    """Where it does not apply."""
    rule: str = ""
    """Which rule decides a conditional one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One GPU as its vendor sells it. TFLOP/s are dense, without sparsity."""

    name: str
    """The vendor's name, for example ``A100-SXM4-80GB``."""
    arch: str
    """ampere, hopper, …; ``cpu`` where there is none."""
    compute_capability: str | None = None
    """CUDA's, for example ``9.0``."""
    memory_bytes: int | None = None
    """What a program can allocate, as the driver reports it."""
    bf16_tflops: float | None = None
    """Peak of bf16 and fp16 products."""
    fp8_tflops: float | None = None
    """Peak of FP8 products; null: it has none."""
    tf32_tflops: float | None = None
    """Peak of TF32 products."""
    fp32_tflops: float | None = None
    """Peak of plain fp32."""
    memory_gb_per_s: float | None = None
    """Bandwidth of its memory, decimal GB/s."""
    tdp_watts: float | None = None
    """Design power."""
    source: str = ""
    """Where the figures were read."""

    def __post_init__(self) -> None:
        names = ("memory_bytes", "bf16_tflops", "memory_gb_per_s")
        require(*(positive(name, getattr(self, name)) for name in names))


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """What connects the GPUs. Rates are decimal GB/s, one direction, of one GPU or one NIC."""

    nvlink_gb_per_s: float | None = None
    """NVLink of one GPU; null: none."""
    kind: Literal["infiniband", "roce", "efa", "tcpx", "tcpxo", "slingshot", "loopback"] = (
        "loopback"
    )
    """The fabric between nodes."""
    nics_per_node: int = 0
    """Compute NICs; storage NICs are not counted."""
    nic_gb_per_s: float | None = None
    """Rate of one NIC."""
    bus_node_gb_per_s: float | None = None
    """All-reduce of one node, as nccl-tests' bus bandwidth, at which it passes a preflight."""
    bus_gb_per_s: float | None = None
    """The same over nodes."""
    hcas: tuple[str, ...] = ()
    """Their device names, where these are certain."""
    rails: str = ""
    """How NICs and switches are wired, in words."""

    def __post_init__(self) -> None:
        require(
            at_least("nics_per_node", self.nics_per_node, 0),
            positive("nic_gb_per_s", self.nic_gb_per_s),
            positive("nvlink_gb_per_s", self.nvlink_gb_per_s),
            positive("bus_node_gb_per_s", self.bus_node_gb_per_s),
            positive("bus_gb_per_s", self.bus_gb_per_s),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """Hardware facts of a kind of machine."""

    name: str
    """As in ``cluster=NAME``."""
    description: str = ""
    """One line."""
    device: Literal["cuda", "cpu"] = "cuda"
    """What computes."""
    gpu: Gpu
    """The GPU of every node."""
    gpus_per_node: int
    """GPUs, or on a CPU the ranks, of one node."""
    nodes: int | None = None
    """Nodes there are; null: not limited here."""
    cpu_cores_per_node: int | None = None
    """Physical cores."""
    gpu_numa: tuple[int, ...] = ()
    """NUMA node of each GPU, in CUDA's order; empty: read it from the machine."""
    network: Network = field(default_factory=Network)
    """NVLink and fabric."""
    env: Mapping[str, EnvFact] = field(default_factory=dict)
    """Fabric environment by name."""
    avoid: tuple[str, ...] = ()
    """What must not be set here, and why."""
    expected: str = ""
    """Bus bandwidth that nccl-tests reach here."""
    source: str = ""
    """Where the facts were read."""

    def __post_init__(self) -> None:
        require(
            at_least("gpus_per_node", self.gpus_per_node, 1),
            at_least("nodes", self.nodes, 1),
            *variable_names(self.env),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Backend:
    """Which program trains."""

    name: Literal[
        "megatron-core", "megatron-core+deepspeed", "megatron-lm", "megatron-deepspeed", "deepspeed"
    ]
    """megatron-core is llmtrain's own reference trainer."""
    version: str | None = None
    """Release of the program; null: the newest that is known."""
    path: str | None = None
    """Where the program's checkout lies on the nodes."""
    approximate: bool = False
    """Let the backend approximate what it cannot express."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Nodes:
    """Nodes beyond those that compute."""

    spare: int = 0
    """Nodes held in reserve."""

    def __post_init__(self) -> None:
        require(at_least("spare", self.spare, 0))


@dataclass(frozen=True, kw_only=True, slots=True)
class Price:
    """Money."""

    gpu_hour: float | None = None
    """Price of a GPU-hour; null: the site's."""

    def __post_init__(self) -> None:
        require(at_least("gpu_hour", self.gpu_hour, 0))
