"""What the ranks of a node send to those of others in a step, for the order of nodes on switches.

Only what depends on the order counts: the rings of data, context and tensor parallel groups and
the pipeline's stages (a line; a ring where each has several chunks), each at its stride. Sizes:
Narayanan et al. 2021 (arXiv 2104.04473), section 3.2 for pipeline and tensor parallel; a ring
all-reduce of n ranks sends 2 (n - 1) / n of its bytes over each of its edges (Patarasuk and Yuan
2009).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from llmtrain.config.layout import Axis
from llmtrain.planner.plan import Plan

WORD = 2
"""Bytes of an activation; gradients are summed in fp32 or in these."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Edge:
    """What goes from each node to the next one of an axis, in one step."""

    axis: str
    """tp, cp, dp or pp."""
    stride: int
    """Distance of the two, in nodes."""
    size: int
    """Nodes of one ring or line."""
    ring: bool
    """The last sends to the first."""
    edge_bytes: int
    """Of all ranks of the node together."""


def edges(plan: Plan) -> tuple[Edge, ...]:
    """One for each axis that leaves the node."""
    return tuple(_edges(plan))


def _edges(plan: Plan) -> Iterator[Edge]:
    per_node = plan.ranks_per_node
    for axis in plan.axes:
        if axis.size > 1 and axis.nodes > 1:
            yield Edge(
                axis=axis.name,
                stride=max(1, axis.stride // per_node),
                size=axis.nodes,
                # With several chunks a stage the last stage sends to the first.
                ring=axis.name != "pp" or plan.recipe.parallel.vpp > 1,
                edge_bytes=_sent(plan, axis) * min(per_node, axis.stride),
            )


def _sent(plan: Plan, axis: Axis) -> int:
    """Of one rank to its neighbour."""
    recipe, parallel = plan.recipe, plan.recipe.parallel
    shape = recipe.batch.micro * recipe.model.seq * recipe.model.hidden // parallel.cp
    if axis.name == "dp":
        word = 4 if recipe.optim.grad_dtype == "fp32" else WORD
        heaviest = max(stage.parameters for stage in plan.stages)
        return 2 * (axis.size - 1) * heaviest * word // axis.size
    if axis.name == "pp":
        # Forward and backward; the tp ranks of a stage share it where they split the sequence.
        split = parallel.tp if parallel.sequence else 1
        return 2 * plan.microbatches * parallel.vpp * shape * WORD // split
    # Two all-reduces a layer each way, of which each edge of the ring carries its share.
    layers = max(sum(len(chunk) for chunk in stage.chunks) for stage in plan.stages)
    return 8 * (axis.size - 1) * plan.microbatches * layers * shape * WORD // axis.size
