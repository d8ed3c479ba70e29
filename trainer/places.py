"""Where every rank of the run is."""

import os
from dataclasses import dataclass

import torch.distributed as dist


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """One rank's."""

    stage: int
    """Its pipeline stage."""
    node: str
    """Name of its node."""
    pid: int
    """Its process there."""


def all_places(stage: int, node: str) -> tuple[Place, ...]:
    """Of every rank, by its number; all ranks must call this."""
    found: list[Place | None] = [None] * dist.get_world_size()
    dist.all_gather_object(found, Place(stage=stage, node=node, pid=os.getpid()))
    return tuple(place for place in found if place is not None)
