"""Which of the processes of a run this one is."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Rank:
    """One process of the run, as torchrun's or Slurm's environment tells it."""

    number: int = 0
    """The global rank, from 0."""
    world: int = 1
    """Processes of the run."""
    local: int = 0
    """The rank among the processes of this node: the number of its GPU."""
    node: str = "localhost"
    """The node's name."""

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> "Rank":
        """The rank that RANK, WORLD_SIZE and LOCAL_RANK name; rank 0 of 1 without them."""
        return cls(
            number=int(environ.get("RANK", "0")),
            world=int(environ.get("WORLD_SIZE", "1")),
            local=int(environ.get("LOCAL_RANK", "0")),
            node=environ.get("SLURMD_NODENAME") or socket.gethostname(),
        )

    @property
    def alone(self) -> bool:
        """Whether there is no other process to meet."""
        return self.world == 1

    @property
    def leads(self) -> bool:
        """Whether this rank writes what is written once for the run."""
        return self.number == 0
