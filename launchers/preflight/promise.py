"""What a node is held against: the part of a recipe that a node can be asked about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    Limits = Mapping[str, Mapping[str, Any]]
else:  # before Python 3.9 it takes no brackets
    Limits = Mapping
"""limits.yaml: value, level and source of each check."""


class Promise(NamedTuple):
    """What the cluster promises, and what a run needs."""

    device: str | None
    """cuda or cpu; None: nothing is known of this machine."""
    gpus: int
    """Of each node, as many as the job asks for."""
    gpu_name: str
    """The vendor's, for example ``H100-SXM5-80GB``."""
    gpu_arch: str
    """ampere, hopper, …"""
    gpu_memory_bytes: int | None
    """As the driver reports it."""
    nvlink: bool
    """The GPUs of a node are linked."""
    network: str
    """infiniband, roce, …; loopback where a job has one node."""
    nics: int
    """Compute NICs of a node."""
    nic_gbit_per_s: float | None
    """Rate of one."""
    bus_node_gb_per_s: float | None
    """All-reduce of one node at which it passes, bus bandwidth; None: no figure."""
    bus_gb_per_s: float | None
    """The same over nodes."""
    hcas: tuple[str, ...]
    """Their device names, where these are certain."""
    room: Mapping[str, tuple[str, int]]
    """By folder, the check of its disk and the bytes that must be free."""
    limits: Limits
    """Of every check."""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Promise:
        """The inverse of ``_asdict``."""
        return cls(**{**data, "hcas": tuple(data["hcas"])})
