"""A row's machine: its GPU, its NVLink domain, and the NICs that its interconnect names."""

import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from benchmarks.points import Point
from benchmarks.shapes import NotExpressible
from llmtrain.config.build import build
from llmtrain.config.place import Cluster, Gpu, Network

DATA = Path(__file__).parent / "data"
GPUS = Path(__file__).parent.parent / "recipes" / "gpu"


@lru_cache
def _machines() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((DATA / "machines.yaml").read_text(encoding="utf-8"))
    return data


def cluster_of(point: Point) -> tuple[Cluster, tuple[str, ...]]:
    """The cluster of a row: its GPU, its NVLink domain, and the NICs its interconnect names.

    Beside it, what stands in where it names none.

    Raises:
        NotExpressible: if the GPU is unknown.
    """
    machines, name = _machines(), point.text("gpu").lower()
    entry = machines["gpus"].get(name) or machines["gpus"].get(_nearest_name(name))
    if entry is None:
        known = ", ".join(machines["gpus"])
        raise NotExpressible(f"GPU {name or '(blank)'} is not known; known: {known}")
    data = yaml.safe_load((GPUS / f"{entry['gpu']}.yaml").read_text(encoding="utf-8"))
    gpu = build(Gpu, data)
    differs = {key: entry[key] for key in ("memory_bytes", "tdp_watts", "name") if key in entry}
    gpu = replace(gpu, **differs)
    _compare_memory(name, gpu)
    node = point.whole("gpus_per_node") or 1
    per_node = entry["domain"] if entry["domain"] > 8 else node
    network, said = _network(point, gpu, entry["nvlink_gb_per_s"], per_node, node)
    return Cluster(name=name, gpu=gpu, gpus_per_node=per_node, network=network), said


def _compare_memory(name: str, gpu: Gpu) -> None:
    """A name that says another memory (``a100-64g``) is another GPU's."""
    stated, known = re.search(r"(\d{2,3})\s*gi?b?\b", name), gpu.memory_bytes
    if stated and known and abs(int(stated[1]) * 1e9 / known - 1) > MEMORY_SLACK:
        raise NotExpressible(f"GPU {name} is not known: {gpu.name} has {known / 1e9:.0f} GB")


MEMORY_SLACK = 0.09
"""How far the memory that a name says may lie from what the device has: GB are taken for GiB."""


def _nearest_name(name: str) -> str | None:
    patterns = _machines()["patterns"]
    return next((known for pattern, known in patterns if re.search(pattern, name)), None)


def _network(
    point: Point, gpu: Gpu, nvlink: float, per_node: int, node: int
) -> tuple[Network, tuple[str, ...]]:
    """NICs of a node from words like ``8x400G``, ``1600Gbps/node`` or ``400 Gb/s per GPU``."""
    usual, words = _machines()["network"][gpu.arch], point.text("interconnect")
    nics, rate, said = max(1, usual["nics"] * node // 8), usual["gb_per_s"], tuple[str, ...]()
    several = re.search(r"(\d+)\s*x\s*(\d+)\s*G", words)
    together = re.search(r"(\d+)\s*Gb(?:ps|/s|it/s)", words)
    each = re.search(r"(?:/|per)\s*(?:gpu|nic|card|port)", words, re.IGNORECASE)
    if several:
        nics, rate = int(several[1]), int(several[2]) / 8
    elif together:
        rate = int(together[1]) / 8 / (1 if each else nics)
    else:
        said = (f"interconnect: {nics} x {rate * 8:g}G",)
    if nics < 1 or rate <= 0:
        raise NotExpressible(f"interconnect {words} has no rate")
    if re.search(r"NVLink\s+(\d+)\s*GB/s", words):
        nvlink = float(re.search(r"NVLink\s+(\d+)", words)[1])  # type: ignore[index]
    network = Network(
        nvlink_gb_per_s=nvlink,
        kind="infiniband",
        nics_per_node=max(1, round(nics * per_node / max(node, 1))),
        nic_gb_per_s=rate,
    )
    return network, said
