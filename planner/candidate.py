"""A candidate: the numbers of a layout that the step-time model reads, alone or as arrays."""

from dataclasses import dataclass

from llmtrain.config.layout import data_parallel, microbatches, stage_layers
from llmtrain.config.model import Model
from llmtrain.config.recipe import Recipe
from llmtrain.planner.numeric import Quantity, choose


@dataclass(frozen=True, kw_only=True, slots=True)
class Stages:
    """Layers of the first, the fullest other, and the last stage, dense and MoE apart."""

    first_dense: Quantity
    """Dense layers of the first stage."""
    first_moe: Quantity
    """MoE layers of the first stage."""
    middle_dense: Quantity
    """Dense layers of the fullest stage between; 0 where there is none."""
    middle_moe: Quantity
    """MoE layers of the fullest stage between."""
    last_dense: Quantity
    """Dense layers of the last stage."""
    last_moe: Quantity
    """MoE layers of the last stage."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One layout, or with NumPy arrays in its fields many. Flags are 0 or 1."""

    gpus: Quantity
    """GPUs that compute."""
    tp: Quantity
    """Tensor parallel."""
    pp: Quantity
    """Pipeline parallel."""
    vpp: Quantity
    """Chunks of a stage."""
    cp: Quantity
    """Context parallel."""
    ep: Quantity
    """Expert parallel."""
    etp: Quantity
    """Expert tensor parallel."""
    dp: Quantity
    """Data parallel."""
    micro: Quantity
    """Sequences of a micro-batch."""
    microbatches: Quantity
    """Micro-batches of a step on each replica."""
    stages: Stages
    """Which layers lie where."""
    sequence: Quantity
    """Flag: sequence parallel."""
    full: Quantity
    """Share of the layers that are recomputed whole."""
    modules: frozenset[str]
    """What selective recompute drops; empty: nothing."""
    zero: Quantity
    """ZeRO stage."""
    pipeline_outermost: Quantity
    """Flag: neighbouring stages lie tp x cp x dp ranks apart (else tp x cp)."""
    tp_overlap: Quantity
    """Flag: tensor parallel communication overlaps the products."""
    overlap_reduce: Quantity
    """Flag: gradients are reduced during the backward pass."""
    overlap_gather: Quantity
    """Flag: weights are gathered during the forward pass."""

    @property
    def pipeline_stride(self) -> Quantity:
        """Distance of neighbouring stages, in ranks."""
        return self.tp * self.cp * choose(self.pipeline_outermost, self.dp, 1)

    @property
    def data_stride(self) -> Quantity:
        """Distance of neighbouring replicas, context parallel ranks counted in, in ranks."""
        return self.tp * choose(self.pipeline_outermost, 1, self.pp)


def candidate_of(recipe: Recipe) -> Candidate:
    """The numbers of one recipe."""
    parallel, optim, recompute = recipe.parallel, recipe.optim, recipe.recompute
    selective = recompute.kind == "selective"
    return Candidate(
        gpus=recipe.gpus,
        tp=parallel.tp,
        pp=parallel.pp,
        vpp=parallel.vpp,
        cp=parallel.cp,
        ep=parallel.ep,
        etp=parallel.expert_tp,
        dp=max(1, data_parallel(recipe)),
        micro=recipe.batch.micro,
        microbatches=max(1, microbatches(recipe)),
        stages=_stages(recipe),
        sequence=int(parallel.sequence),
        full=_full_share(recipe),
        modules=frozenset(recompute.modules) if selective else frozenset(),
        zero=optim.zero,
        pipeline_outermost=int(parallel.order.endswith("-pp")),
        tp_overlap=int(recipe.kernels.tp_overlap),
        overlap_reduce=int(optim.overlap_grad_reduce),
        overlap_gather=int(optim.overlap_param_gather),
    )


def _full_share(recipe: Recipe) -> float:
    """Uniform recompute takes every layer, block recompute the first few of a chunk."""
    recompute, parallel = recipe.recompute, recipe.parallel
    if recompute.kind != "full":
        return 0.0
    if recompute.method == "uniform":
        return 1.0
    chunk = recipe.model.layers / (parallel.pp * parallel.vpp)
    return min(1.0, recompute.layers / chunk)


def _stages(recipe: Recipe) -> Stages:
    counts = [_split(recipe.model, chunks) for chunks in stage_layers(recipe)]
    middle = max(counts[1:-1], key=sum, default=(0, 0))
    return Stages(
        first_dense=counts[0][0],
        first_moe=counts[0][1],
        middle_dense=middle[0],
        middle_moe=middle[1],
        last_dense=counts[-1][0],
        last_moe=counts[-1][1],
    )


def _split(model: Model, chunks: tuple[tuple[int, ...], ...]) -> tuple[int, int]:
    layers = [layer for chunk in chunks for layer in chunk]
    moe = sum(model.is_moe_layer(layer) for layer in layers)
    return len(layers) - moe, moe
