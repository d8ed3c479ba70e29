"""Matrix products and all-reduces of one rank, timed: the preflight starts it on every GPU.

``python burn.py DEVICE DEPTH NODES RANKS_PER_NODE``, with the variables that torch.distributed
reads. A job takes this file along, to nodes on which there is the program's torch and no llmtrain,
so it imports nothing else. One JSON object a line on stdout, ``{"figure": …, "value": …}``,
each as soon as it is known: a later part may hang.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Work:
    """How much is done on a kind of device."""

    backend: str
    """Of torch.distributed."""
    size: int
    """Rows and columns of the matrices."""
    products: int
    """How many are timed."""
    elements: int
    """Of the vector that is reduced, in fp32."""
    repeats: int
    """How many reductions are timed."""


WORKS = {
    # Thresholds of nccl-tests are read at 8 GiB and more.
    "cuda": Work(backend="nccl", size=8192, products=50, elements=2**31, repeats=5),
    "cpu": Work(backend="gloo", size=512, products=5, elements=2**18, repeats=3),
}


def tell(figure: str, value: float, **more: int) -> None:
    """One line for the process that started this."""
    print(json.dumps({"figure": figure, "value": value, **more}), flush=True)


def wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matmul_tflops(device: torch.device, work: Work) -> float:
    """Rate of bf16 products on a GPU, fp32 on a CPU."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    a, b = (torch.randn(work.size, work.size, device=device, dtype=dtype) for _ in range(2))
    for _ in range(3):
        a @ b
    wait(device)
    begin = time.perf_counter()
    for _ in range(work.products):
        a @ b
    wait(device)
    return work.products * 2 * work.size**3 / (time.perf_counter() - begin) / 1e12


def bus_gb_per_s(device: torch.device, work: Work, group: dist.ProcessGroup | None) -> float:
    """Bus bandwidth of an all-reduce as nccl-tests count it: 2 (n - 1) / n of the bytes."""
    ranks = dist.get_world_size(group)
    vector = torch.zeros(work.elements, device=device, dtype=torch.float32)
    for _ in range(2):
        dist.all_reduce(vector, group=group)
    wait(device)
    begin = time.perf_counter()
    for _ in range(work.repeats):
        dist.all_reduce(vector, group=group)
    wait(device)
    seconds = (time.perf_counter() - begin) / work.repeats
    return 2 * (ranks - 1) / ranks * 4 * work.elements / seconds / 1e9


def pairs(nodes: int) -> Iterator[list[tuple[int, int]]]:
    """Two rounds in which every node has a partner, another one each time; two nodes have one."""
    if nodes < 2:
        return
    yield [(first, first + 1) for first in range(0, nodes - 1, 2)]
    if nodes > 2:
        later = [(first, first + 1) for first in range(1, nodes - 1, 2)]
        yield [*later, (nodes - 1, 0)] if nodes % 2 == 0 else later


def group_of(nodes: tuple[int, ...], per_node: int) -> dist.ProcessGroup:
    """All ranks of some nodes. Only they make it: with the others it would take minutes."""
    ranks = [node * per_node + local for node in sorted(nodes) for local in range(per_node)]
    group: dist.ProcessGroup = dist.new_group(ranks, use_local_synchronization=True)
    return group


def reductions(device: torch.device, work: Work, nodes: int, per_node: int) -> None:
    """In the node, with two other nodes in turn, over all; local rank 0 tells."""
    rank, speaks = dist.get_rank(), dist.get_rank() % per_node == 0
    node = rank // per_node
    if per_node > 1:
        rate = bus_gb_per_s(device, work, group_of((node,), per_node))
        if speaks:
            tell("bus_node", rate)
    for turn in pairs(nodes):
        for pair in (each for each in turn if node in each):
            rate = bus_gb_per_s(device, work, group_of(pair, per_node))
            if speaks:
                tell("bus_pair", rate, other=pair[0] + pair[1] - node)
        dist.barrier()
    if nodes > 1:
        rate = bus_gb_per_s(device, work, None)
        if speaks:
            tell("bus_all", rate)


def main(arguments: list[str]) -> None:
    """One rank."""
    kind, depth, nodes, per_node = *arguments[:2], int(arguments[2]), int(arguments[3])
    work, local = WORKS[kind], int(os.environ["LOCAL_RANK"])
    device = torch.device(f"cuda:{local}" if kind == "cuda" else "cpu")
    if kind == "cuda":
        torch.cuda.set_device(device)
    if depth == "burn":
        tell("gemm", matmul_tflops(device, work), gpu=local)
    if nodes * per_node > 1:
        dist.init_process_group(work.backend, timeout=timedelta(seconds=300))
        reductions(device, work, nodes, per_node)
        dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1:])
