"""Layout arithmetic: replicas, micro-batches, which layers lie on which stage, which ranks where.

What is legal is decided by :mod:`llmtrain.config.rules`; these functions only count.
"""

from dataclasses import dataclass
from itertools import accumulate

from llmtrain.config.parallel import Parallel
from llmtrain.config.recipe import Recipe


def data_parallel(recipe: Recipe) -> int:
    """dp = gpus / (tp x pp x cp), rounded down."""
    return recipe.gpus // recipe.parallel.model_size


def expert_data_parallel(recipe: Recipe) -> int:
    """edp = gpus / (etp x ep x pp), rounded down."""
    parallel = recipe.parallel
    return recipe.gpus // (parallel.expert_tp * parallel.ep * parallel.pp)


def degrees(recipe: Recipe) -> dict[str, int]:
    """Every degree of the layout by its recipe key, and dp."""
    parallel = recipe.parallel
    return {
        "tp": parallel.tp,
        "pp": parallel.pp,
        "vpp": parallel.vpp,
        "cp": parallel.cp,
        "ep": parallel.ep,
        "etp": parallel.expert_tp,
        "dp": data_parallel(recipe),
    }


def microbatches(recipe: Recipe, global_batch: int | None = None) -> int:
    """Micro-batches of one step on each replica; ``global_batch`` defaults to the recipe's."""
    size = recipe.batch.global_ if global_batch is None else global_batch
    return size // (recipe.batch.micro * max(1, data_parallel(recipe)))


def node_count(recipe: Recipe) -> int:
    """Nodes that compute, spares not counted."""
    return -(-recipe.gpus // recipe.cluster.gpus_per_node)


def ranks_per_node(recipe: Recipe) -> int:
    """Processes on each node."""
    return min(recipe.gpus, recipe.cluster.gpus_per_node)


def total_steps(recipe: Recipe) -> int | None:
    """Optimizer steps of the run: ``run.steps``, else what ``tokens`` need; None if neither.

    A ramp takes more steps for the same tokens (:func:`ramp_steps`).
    """
    if recipe.run.steps is not None:
        return recipe.run.steps
    if recipe.tokens is None:
        return None
    samples = -(-recipe.tokens // recipe.model.seq)
    return steps_for_samples(recipe, samples)


def steps_for_samples(recipe: Recipe, samples: int) -> int:
    """Steps that consume ``samples`` sequences, ramp included."""
    steps = 0
    for size, count in ramp_steps(recipe):
        taken = min(count, -(-samples // size))
        steps, samples = steps + taken, max(0, samples - taken * size)
    return steps - (-samples // recipe.batch.global_)


def ramp_steps(recipe: Recipe) -> tuple[tuple[int, int], ...]:
    """Pairs of global batch and steps with it, before the batch is full; empty without a ramp.

    Each size begins with the first step that begins in its even share of the ramp's samples.
    Source: megatron-core ``num_microbatches_calculator.py``
    (``RampupBatchsizeNumMicroBatchesCalculator``).
    """
    ramp, sizes = recipe.batch.ramp, recipe.batch.sizes()
    if ramp is None:
        return ()
    found, consumed, rises = [], 0, len(sizes) - 1
    for rise, size in enumerate(sizes[:-1], start=1):
        # In whole numbers: samples x rises are counted.
        left = rise * ramp.samples - consumed * rises
        taken = max(0, -(-left // (size * rises)))
        consumed += taken * size
        found.append((size, taken))
    return tuple(found)


def samples_after(recipe: Recipe, steps: int) -> int:
    """Sequences that the first ``steps`` steps consume, ramp included."""
    consumed = 0
    for size, count in ramp_steps(recipe):
        taken = min(count, steps)
        consumed, steps = consumed + taken * size, steps - taken
    return consumed + steps * recipe.batch.global_


def step_samples(recipe: Recipe, done: int) -> range:
    """The numbers of the samples that the step after ``done`` steps takes."""
    return range(samples_after(recipe, done), samples_after(recipe, done + 1))


def chunk_layers(recipe: Recipe) -> tuple[int, ...] | None:
    """Layers of each chunk in pipeline order (pp x vpp numbers); None if they do not divide.

    Source: megatron-core ``transformer_block.py`` (``get_num_layers_to_build``): with
    ``account_for_*`` the embedding and the loss each take the place of a layer.
    """
    model, parallel = recipe.model, recipe.parallel
    chunks = parallel.pp * parallel.vpp
    given = parallel.layers_per_stage
    if given is not None:
        return _given_chunks(given, parallel) if sum(given) == model.layers else None
    counted = model.layers + parallel.account_for_embedding + parallel.account_for_loss
    if counted % chunks:
        return None
    layers = [counted // chunks] * chunks
    layers[0] -= parallel.account_for_embedding
    layers[-1] -= parallel.account_for_loss
    return tuple(layers) if min(layers) >= 0 else None


def _given_chunks(given: tuple[int, ...], parallel: Parallel) -> tuple[int, ...] | None:
    if len(given) == parallel.pp * parallel.vpp:
        return given
    if any(count % parallel.vpp for count in given):
        return None
    # One number a stage: its chunks are equal; chunk c of stage s is number c x pp + s.
    return tuple(count // parallel.vpp for count in given) * parallel.vpp


def stage_layers(recipe: Recipe) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """Layer numbers from 0 as ``[stage][chunk][layer]``.

    Raises:
        ValueError: if the layers do not divide; rules find that first.
    """
    counts = chunk_layers(recipe)
    if counts is None:
        raise ValueError("the layers do not divide over the stages")
    ends = tuple(accumulate(counts))
    pp = recipe.parallel.pp
    chunks = [tuple(range(end - count, end)) for end, count in zip(ends, counts, strict=True)]
    return tuple(tuple(chunks[stage::pp]) for stage in range(pp))


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """How the groups of one kind of parallelism lie on the nodes."""

    name: str
    """tp, cp, dp or pp."""
    size: int
    """Ranks of a group."""
    stride: int
    """Distance of neighbours, in ranks."""
    nodes: int
    """Nodes that one group spans at the most."""

    @property
    def place(self) -> str:
        """The same in words."""
        if self.size == 1:
            return "not used"
        if self.nodes == 1:
            return "inside a node"
        return f"over {self.nodes} nodes"


def axes(recipe: Recipe) -> tuple[Axis, ...]:
    """Every dense axis from the fastest to the slowest, with its stride and the nodes it spans."""
    sizes = {
        "tp": recipe.parallel.tp,
        "cp": recipe.parallel.cp,
        "dp": data_parallel(recipe),
        "pp": recipe.parallel.pp,
    }
    names = [name for name in recipe.parallel.order.split("-") if name != "ep"]
    found: list[Axis] = []
    stride = 1
    for name in names:
        nodes = _nodes_spanned(sizes[name], stride, recipe)
        found.append(Axis(name=name, size=sizes[name], stride=stride, nodes=nodes))
        stride *= sizes[name]
    return tuple(found)


def _nodes_spanned(size: int, stride: int, recipe: Recipe) -> int:
    """Nodes of the group that lies worst: one whose first rank is the farthest into its node."""
    per_node = ranks_per_node(recipe)
    if stride >= per_node:
        return size
    blocks = min(per_node, recipe.gpus // (size * stride))
    starts = (block * size * stride + rank for block in range(blocks) for rank in range(stride))
    worst = max((start % per_node for start in starts), default=0)
    return (worst + (size - 1) * stride) // per_node + 1
