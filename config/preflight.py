"""What is looked at on every node of a job before a rank starts."""

from dataclasses import dataclass
from typing import Literal

from llmtrain.config.checks import at_least, between, require

LONGEST_DAYS = 3650
"""A node stays on the exclude list: longer than a cluster lives."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Preflight:
    """What is looked at on every node of a job before a rank starts, and what follows from it."""

    policy: Literal["off", "warn", "stop"] = "stop"
    """stop: a node that is not fit takes no part, and where too few are left, or NCCL does not send
    by the cluster's fabric, the job ends; warn: it is only said; off: nobody looks."""
    depth: Literal["read", "network", "burn"] = "read"
    """read: what a node says of itself, in seconds; network: also all-reduces inside nodes, between
    pairs and over all, and the transport of NCCL before a rank starts, within a minute; burn: also
    matrix products on every GPU."""
    seconds: int = 120
    """So long a node may take for what it says of itself, and the nodes for each further part."""
    exclude_days: float = 7.0
    """So long a node that was not fit stays on the exclude list; 0: it is not put there."""

    def __post_init__(self) -> None:
        require(
            at_least("seconds", self.seconds, 10),
            between("exclude_days", self.exclude_days, 0, LONGEST_DAYS),
        )
