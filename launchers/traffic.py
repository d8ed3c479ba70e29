"""What the ranks of a node send to those of others in a step, for the order of nodes on switches.

Only what depends on the order counts: the rings of data, context and tensor parallel groups and
the pipeline's stages (a line; a ring where each has several chunks), each at its stride. Sizes:
the planner's messages for pipeline and context parallel; Narayanan et al. 2021 (arXiv 2104.04473),
section 3.2 for tensor parallel; a ring all-reduce of n ranks sends 2 (n - 1) / n of its bytes over
each of its edges (Patarasuk and Yuan 2009).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from llmtrain.config.layout import Axis
from llmtrain.planner.candidate import candidate_of
from llmtrain.planner.costs import ring_message
from llmtrain.planner.operators import tokens
from llmtrain.planner.plan import Plan
from llmtrain.planner.stacks import chosen_stack, stack_of
from llmtrain.planner.step import stage_message

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
    recipe, layout = plan.recipe, candidate_of(plan.recipe)
    if axis.name == "dp":
        word = 4 if recipe.optim.grad_dtype == "fp32" else WORD
        heaviest = max(stage.parameters for stage in plan.stages)
        return 2 * (axis.size - 1) * heaviest * word // axis.size
    if axis.name == "pp":
        message = stage_message(recipe.model, layout, stack_of(chosen_stack(recipe)))
        return 2 * plan.microbatches * recipe.parallel.vpp * int(message)  # forward and backward
    layers = max(sum(len(chunk) for chunk in stage.chunks) for stage in plan.stages)
    passes = plan.microbatches * layers
    if axis.name == "cp":
        # Keys and values forward; those and their gradients backward.
        return 3 * (axis.size - 1) * passes * int(ring_message(recipe.model, layout))
    # Two all-reduces a layer each way, of which each edge of the ring carries its share.
    block = int(tokens(recipe.model, layout)) * recipe.model.hidden * WORD
    return 8 * (axis.size - 1) * passes * block // axis.size
