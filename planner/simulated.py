"""The bubble of a plan's own pipeline, pass by pass: what its closed form is held against."""

from llmtrain.config.layout import stage_layers
from llmtrain.config.recipe import Recipe
from llmtrain.planner.costs import Case, Cost
from llmtrain.planner.loads import pieces_of
from llmtrain.planner.schedule import makespan, simulate
from llmtrain.planner.step import hops_of


def simulated_bubble(recipe: Recipe, case: Case) -> float:
    """Seconds that the busiest stage idles in a step of ``recipe``, which ``case`` times.

    Every chunk has the passes of its own layers, the first the embedding's, the last the head's.
    """
    stages = chunk_costs(recipe, case)
    busiest = max(sum(cost.total for cost in chunks) for chunks in stages)
    waits = case.machine.stack.microbatch_seconds + hops_of(case)
    each = waits / recipe.parallel.vpp / 2
    forward = [[cost.total - cost.backward + each for cost in chunks] for chunks in stages]
    backward = [[cost.backward + each for cost in chunks] for chunks in stages]
    count = int(case.layout.microbatches)
    whole = makespan(simulate(forward, backward, count))
    return float((whole - count * (busiest + waits)) * case.machine.stack.measured)


def chunk_costs(recipe: Recipe, case: Case) -> list[list[Cost]]:
    """Of a micro-batch, as ``[stage][chunk]``."""
    model, pieces = case.model, pieces_of(case)
    kinds = [
        pieces.moe if model.is_moe_layer(number) else pieces.dense for number in range(model.layers)
    ]
    found = [
        [sum((kinds[number] for number in chunk), Cost()) for chunk in chunks]
        for chunks in stage_layers(recipe)
    ]
    found[0][0] += pieces.start
    found[-1][-1] += pieces.end
    return found
