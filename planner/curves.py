"""What a kind of GPU and its links reach of their peaks: data files, one an architecture."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from llmtrain.config.yaml_reader import read_yaml

FOLDER = Path(__file__).parent / "data" / "gpus"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """An output tile of a matrix product's kernel."""

    rows: int
    """Of the output."""
    columns: int
    """Of the output."""
    relative: float
    """Its rate against the best tile's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """A rate that rises with size: ``top x size / (size + half)``."""

    top: float
    """What very large sizes reach."""
    half: float
    """The size that reaches half of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attention:
    """A fused attention kernel: TFLOP/s of causal operations by sequence length."""

    forward: Rate
    """Forward pass."""
    backward: Rate
    """Backward pass, its recomputation included (5 products for 2)."""
    narrow: float
    """Rate at head width 64 against 128."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """The processor beside the GPUs, where the optimizer's states may live."""

    copy_gb_per_s: float
    """From or to one GPU."""
    memory_gb_per_s: float
    """Of its memory, for each GPU of the node."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Curves:
    """One architecture."""

    arch: str
    """As in the recipe's ``gpu.arch``."""
    sms: int
    """Streaming multiprocessors."""
    tiles: tuple[Tile, ...]
    """Of matrix products; the fastest for a shape is taken."""
    gemm: Mapping[str, float]
    """Share of the peak that very large products reach, by numbers."""
    depth: Mapping[str, float]
    """Prologue and epilogue of a tile, in steps of k, by numbers."""
    smooth: float
    """0: the last wave costs a whole one; 1: only its share."""
    misaligned: float
    """Factor on the time of a product whose rows are no multiples of 128 bytes."""
    boards: Mapping[str, float]
    """Rate of products on a board of this silicon against ``gemm``'s, by the name of its GPU."""
    boards_tflops: float
    """bf16 peak of the board that ``gemm`` is of."""
    memory: Rate
    """Share of the memory's bandwidth by bytes of a pass."""
    attention: Mapping[str, Attention]
    """By kernel."""
    nvlink: Rate
    """Bus bandwidth of a collective as a share of NVLink's rate, by bytes."""
    network: Rate
    """Bus bandwidth of a collective as a share of the NICs' rate, by bytes."""
    point_to_point: Rate
    """Of a pipeline message, as a share of a NIC's rate, by bytes."""
    near_seconds: float
    """Latency of a ring's step inside a node."""
    far_seconds: float
    """Latency of a ring's step between nodes."""
    all_to_all: float
    """Rate of an all-to-all against a ring's."""
    host: Host
    """Of the nodes that have such GPUs."""


@lru_cache
def curves_of(arch: str) -> Curves | None:
    """The curves of an architecture; None where none are known."""
    file = FOLDER / f"{arch}.yaml"
    if not file.is_file():
        return None
    data = read_yaml(file.read_text(encoding="utf-8"))
    return curves_from(data)


def curves_from(data: Mapping[str, Any]) -> Curves:
    """Curves from a data file's mapping."""
    return Curves(
        arch=data["arch"],
        sms=data["sms"]["value"],
        tiles=tuple(Tile(**tile) for tile in data["tiles"]["values"]),
        gemm=MappingProxyType(data["gemm"]["share"]),
        depth=MappingProxyType(data["gemm"]["depth"]),
        smooth=data["gemm"]["smooth"],
        misaligned=data["gemm"]["misaligned"],
        boards=MappingProxyType(data.get("boards", {}).get("speed", {})),
        boards_tflops=data.get("boards", {}).get("tflops", 0.0),
        memory=_rate(data["memory"]),
        attention=MappingProxyType(
            {name: _attention(kernel) for name, kernel in data["attention"].items()}
        ),
        nvlink=_rate(data["nvlink"]),
        network=_rate(data["network"]),
        point_to_point=_rate(data["point_to_point"]),
        near_seconds=data["ring_latency"]["near"],
        far_seconds=data["ring_latency"]["far"],
        all_to_all=data["all_to_all"]["value"],
        host=Host(copy_gb_per_s=data["host"]["copy"], memory_gb_per_s=data["host"]["memory"]),
    )


def _rate(data: Mapping[str, Any]) -> Rate:
    return Rate(top=float(data["top"]), half=float(data["half"]))


def _attention(data: Mapping[str, Any]) -> Attention:
    return Attention(
        forward=_rate(data["forward"]),
        backward=_rate(data["backward"]),
        narrow=data["narrow"],
    )
