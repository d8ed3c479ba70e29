"""Numbers of GPUs that are worth a search."""

from llmtrain.config.recipe import Recipe
from llmtrain.planner.search.pipelines import divisors

TRIED = 12
"""Numbers beside the recipe's."""


def gpu_counts(recipe: Recipe) -> tuple[int, ...]:
    """Whole nodes from a quarter to four times the recipe's GPUs, in even ratios.

    Only numbers whose replicas can share the global batch: a tensor parallel size, stages that
    divide the layers (or these with embedding and loss), and a divisor of every global batch.
    """
    per_node = recipe.cluster.gpus_per_node
    most = recipe.gpus * 4
    if recipe.cluster.nodes is not None:
        most = min(most, (recipe.cluster.nodes - recipe.nodes.spare) * per_node)
    counts = {count for count in _products(recipe) if recipe.gpus // 4 <= count <= most}
    counts = {count for count in counts if count % per_node == 0 or count <= per_node}
    wanted = [
        recipe.gpus * 4.0 ** (step / (TRIED / 2)) for step in range(-TRIED // 2, TRIED // 2 + 1)
    ]
    near = {min(counts, key=lambda count: abs(count / want - 1)) for want in wanted if counts}
    return tuple(sorted({recipe.gpus, *near}))


def _products(recipe: Recipe) -> set[int]:
    layers = recipe.model.layers
    stages = {pp for more in (0, 1, 2) for pp in divisors(layers + more)}
    tensor = [tp for tp in divisors(recipe.model.heads) if tp <= recipe.cluster.gpus_per_node]
    sizes = recipe.batch.sizes()
    replicas = [dp for dp in divisors(sizes[0]) if all(size % dp == 0 for size in sizes)]
    return {tp * pp * dp for tp in tensor for pp in stages for dp in replicas}
