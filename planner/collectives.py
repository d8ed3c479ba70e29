"""How long communication takes: by message, algorithm and what it crosses.

Ring algorithms: of a message S over n ranks each link carries (n - 1)/n S for a gather or scatter,
twice as much for a reduction to all (NVIDIA nccl-tests, ``doc/PERFORMANCE.md``). The real rank
order decides how many ranks of a group share a node, and with it how many NICs carry its rings:
a group with r ranks a node of g ranks has r/g of the node's NICs.
"""

from dataclasses import dataclass

from llmtrain.config.place import Network
from llmtrain.planner.curves import Curves, Rate
from llmtrain.planner.numeric import Quantity, choose, largest, smallest


@dataclass(frozen=True, kw_only=True, slots=True)
class Links:
    """What connects the GPUs of a cluster."""

    network: Network
    """Rates of NVLink and NICs."""
    curves: Curves
    """What collectives reach of them."""
    per_node: Quantity
    """Ranks that share NVLink."""

    @property
    def nvlink(self) -> float:
        """Bytes a second of one GPU."""
        return (self.network.nvlink_gb_per_s or 16.0) * 1e9

    @property
    def nic(self) -> Quantity:
        """Bytes a second of the network for each rank of a node."""
        rate = (self.network.nic_gb_per_s or 1.25) * 1e9
        return rate * max(1, self.network.nics_per_node) / self.per_node


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Ranks that communicate."""

    size: Quantity
    """How many."""
    stride: Quantity
    """Distance of neighbours, in ranks."""


def ranks_in_node(links: Links, group: Group) -> Quantity:
    """Ranks of a group in one node."""
    return largest(1, smallest(group.size, links.per_node // largest(group.stride, 1)))


def bus_rate(links: Links, group: Group, message: Quantity) -> Quantity:
    """Bytes a second that a ring of the group carries for a message."""
    inside = ranks_in_node(links, group)
    local = links.nvlink * _share(links.curves.nvlink, message)
    remote = links.nic * inside * _share(links.curves.network, message)
    return choose(inside >= group.size, local, smallest(local, remote))


def _share(rate: Rate, message: Quantity) -> Quantity:
    return rate.top * message / (message + rate.half)


def gather_seconds(links: Links, group: Group, message: Quantity) -> Quantity:
    """All-gather or reduce-scatter of ``message`` bytes (the whole tensor)."""
    moved = (group.size - 1) / group.size * message
    return choose(group.size > 1, moved / bus_rate(links, group, largest(message, 1.0)), 0.0)


def ring_latency(links: Links, group: Group) -> Quantity:
    """Latency of one gather or scatter over a ring that leaves the node: a step for every rank.

    Inside a node it is part of the bandwidth's curve.
    """
    inside = ranks_in_node(links, group)
    hops = group.size / inside
    curves = links.curves
    time = hops * curves.far_seconds + (group.size - hops) * curves.near_seconds
    return choose(inside < group.size, time, 0.0)


def reduce_seconds(links: Links, group: Group, message: Quantity) -> Quantity:
    """All-reduce of ``message`` bytes: a reduce-scatter and an all-gather."""
    return 2.0 * gather_seconds(links, group, message)


def exchange_seconds(
    links: Links, group: Group, message: Quantity, copies: Quantity = 1.0
) -> Quantity:
    """All-to-all in which each rank holds ``message`` bytes.

    What stays on the rank is not sent; what leaves the node goes through the rank's share of the
    NICs.

    Args:
        links: what connects the ranks.
        group: the ranks.
        message: bytes that a rank holds, all copies of a token counted.
        copies: of a token, of which a node that takes several gets one, and forwards one to each
            of its ranks; 1: every copy is sent.
    """
    inside = ranks_in_node(links, group)
    rate = links.curves.all_to_all
    size = largest(message, 1.0)
    local = links.nvlink * _share(links.curves.nvlink, size) * rate
    remote = links.nic * _share(links.curves.network, size) * rate
    near = (inside - 1) / group.size * message / local * sent_share(group.size, copies)
    far = (group.size - inside) / group.size * message / remote
    far = far * sent_share(group.size / inside, copies)
    return choose(group.size > 1, largest(near, far), 0.0)


def sent_share(places: Quantity, copies: Quantity) -> Quantity:
    """Of ``copies`` sent to random nodes or ranks: how many get one, as a share of the copies."""
    missed: Quantity = (1.0 - 1.0 / places) ** copies
    return places * (1.0 - missed) / copies


def send_seconds(links: Links, stride: Quantity, message: Quantity) -> Quantity:
    """A message to the rank ``stride`` away; every rank of the node sends at the same time."""
    size = largest(message, 1.0)
    far = size / (links.nic * _share(links.curves.point_to_point, size))
    near = size / (links.nvlink * _share(links.curves.nvlink, size))
    return choose(stride >= links.per_node, far, near)
