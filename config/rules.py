"""What must hold across concerns: one short function a rule.

A rule yields problems; :mod:`llmtrain.config.repairs` knows, by a problem's code, which keys could
mend it. Rules say what the engines really accept, their pipeline schedules' entry checks included.
"""

from collections.abc import Callable, Iterator

from llmtrain.config.errors import Problem
from llmtrain.config.layout import chunk_layers, data_parallel, node_count
from llmtrain.config.recipe import Recipe

Rule = Callable[[Recipe], Iterator[Problem]]


def violations(recipe: Recipe) -> tuple[Problem, ...]:
    """Every rule that ``recipe`` breaks."""
    return tuple(problem for rule in RULES for problem in rule(recipe))


def replicas_are_whole(recipe: Recipe) -> Iterator[Problem]:
    """The GPUs hold a whole number of replicas."""
    parallel = recipe.parallel
    if recipe.gpus % parallel.model_size == 0:
        return
    degrees = [d for d in (parallel.tp, parallel.pp, parallel.cp) if d > 1]
    product = " × ".join(str(degree) for degree in degrees)
    total = f"{product} = {parallel.model_size}" if len(degrees) > 1 else product
    says = f"{recipe.gpus} GPUs is not a multiple of {total}"
    yield Problem(code="gpus_not_multiple", says=says, at="gpus")


def experts_are_whole(recipe: Recipe) -> Iterator[Problem]:
    """The GPUs hold a whole number of expert replicas."""
    parallel = recipe.parallel
    size = parallel.expert_tp * parallel.ep * parallel.pp
    if parallel.ep > 1 and recipe.gpus % size:
        product = f"{parallel.expert_tp} × {parallel.ep} × {parallel.pp} = {size}"
        says = f"{recipe.gpus} GPUs is not a multiple of etp × ep × pp = {product}"
        yield Problem(code="expert_gpus_not_multiple", says=says, at="gpus")


def nodes_are_full(recipe: Recipe) -> Iterator[Problem]:
    """More than one node means whole nodes: each starts as many ranks."""
    per_node = recipe.cluster.gpus_per_node
    if recipe.gpus > per_node and recipe.gpus % per_node:
        says = f"{recipe.gpus} GPUs do not fill nodes of {per_node} ({recipe.cluster.name})"
        yield Problem(code="node_not_filled", says=says, at="gpus")


def cluster_is_large_enough(recipe: Recipe) -> Iterator[Problem]:
    """The cluster has so many nodes."""
    have, need = recipe.cluster.nodes, node_count(recipe) + recipe.nodes.spare
    if have is not None and need > have:
        holds = have * recipe.cluster.gpus_per_node
        says = (
            f"{recipe.gpus} GPUs need {need} nodes; cluster {recipe.cluster.name} has {have} "
            f"({holds} GPUs or ranks)"
        )
        yield Problem(code="cluster_too_small", says=says, at="gpus")


def batches_divide(recipe: Recipe) -> Iterator[Problem]:
    """Every global batch of the run is a whole number of micro-batches on each replica."""
    for size in _batches_in_question(recipe):
        dp, micro = data_parallel(recipe), recipe.batch.micro
        if size % (micro * dp):
            says = (
                f"{_batch(recipe, size)} is not a multiple of micro × dp = "
                f"{micro} × {dp} = {micro * dp}"
            )
            yield Problem(code="batch_not_divisible", says=says, at="batch.global")
            return


def interleaving_divides(recipe: Recipe) -> Iterator[Problem]:
    """Interleaving needs micro-batches in multiples of pp.

    Source: megatron-core ``schedules.py`` (``forward_backward_pipelining_with_interleaving``),
    which raises at the first step; no argument parser sees it.
    """
    pp, unit = recipe.parallel.pp, recipe.batch.micro * max(1, data_parallel(recipe))
    if recipe.parallel.vpp == 1 or pp == 1:
        return
    for size in _batches_in_question(recipe):
        if size % unit == 0 and (size // unit) % pp:
            says = (
                f"{_batch(recipe, size)} gives {size // unit} micro-batches, not a multiple of "
                f"pp = {pp}, which interleaving (vpp {recipe.parallel.vpp}) needs"
            )
            yield Problem(code="microbatches_not_multiple", says=says, at="batch.global")
            return


def _batches_in_question(recipe: Recipe) -> tuple[int, ...]:
    """Nothing where dp itself is not known: that mistake is reported on its own."""
    return () if recipe.gpus % recipe.parallel.model_size else recipe.batch.sizes()[::-1]


def _batch(recipe: Recipe, size: int) -> str:
    ramp = "" if size == recipe.batch.global_ else " (on the ramp)"
    return f"global batch {size}{ramp}"


def layers_divide(recipe: Recipe) -> Iterator[Problem]:
    """Every stage and chunk gets a whole number of layers."""
    parallel, layers = recipe.parallel, recipe.model.layers
    if chunk_layers(recipe) is not None:
        return
    if parallel.layers_per_stage is not None:
        total = sum(parallel.layers_per_stage)
        says = (
            f"sums to {total}, the model has {layers} layers"
            if total != layers
            else f"does not divide into vpp = {parallel.vpp} chunks at every stage"
        )
        yield Problem(code="layers_not_divisible", key="parallel.layers_per_stage", says=says)
        return
    counted = layers + parallel.account_for_embedding + parallel.account_for_loss
    extra = "" if counted == layers else f" (+{counted - layers} for embedding and loss)"
    chunks = f"pp × vpp = {parallel.pp} × {parallel.vpp}" if parallel.vpp > 1 else "pp"
    says = f"{layers} layers{extra} is not a multiple of {chunks} = {parallel.pp * parallel.vpp}"
    yield Problem(code="layers_not_divisible", says=says, at="model.layers")


def chunks_need_stages(recipe: Recipe) -> Iterator[Problem]:
    """Virtual stages need real ones."""
    if recipe.parallel.vpp > 1 and recipe.parallel.pp == 1:
        says = f"= {recipe.parallel.vpp} needs `parallel.pp` above 1"
        yield Problem(code="vpp_needs_pp", key="parallel.vpp", says=says)


def tensors_divide(recipe: Recipe) -> Iterator[Problem]:
    """Heads and feed-forward, and under sequence parallel the tokens, divide over tp."""
    model, parallel = recipe.model, recipe.parallel
    sizes = {"model.heads": model.heads, "model.ffn": model.ffn_size}
    if model.mla is None:
        sizes["model.kv_heads"] = model.kv_head_count
    if parallel.sequence:
        sizes["tokens of a rank"] = model.seq // parallel.cp
    broken = [f"{name} = {size}" for name, size in sizes.items() if size % parallel.tp]
    if broken:
        says = f"= {parallel.tp} does not divide {', '.join(broken)}"
        yield Problem(code="tp_not_divisor", key="parallel.tp", says=says)


def experts_divide(recipe: Recipe) -> Iterator[Problem]:
    """Experts divide over the expert parallel ranks, their width over etp.

    Source: megatron-core ``transformer_config.py`` (a bias in an expert only with etp 1).
    """
    model, parallel = recipe.model, recipe.parallel
    if model.experts is None:
        if parallel.ep > 1:
            says = f"= {parallel.ep} needs `model.experts`"
            yield Problem(code="ep_not_divisor", key="parallel.ep", says=says)
        return
    if model.experts % parallel.ep:
        says = f"= {parallel.ep} does not divide model.experts = {model.experts}"
        yield Problem(code="ep_not_divisor", key="parallel.ep", says=says)
    if model.expert_ffn_size % parallel.expert_tp:
        says = f"= {parallel.expert_tp} does not divide model.moe_ffn = {model.expert_ffn_size}"
        yield Problem(code="etp_not_divisor", key="parallel.etp", says=says)
    if model.bias and parallel.expert_tp > 1:
        says = f"= {parallel.expert_tp} cuts experts with biases, which only etp 1 can have"
        yield Problem(code="expert_biases", key="parallel.etp", says=says)


def sequence_parallel_fits(recipe: Recipe) -> Iterator[Problem]:
    """Sequence parallel is tied to tp, and MoE under tp and tp overlap are tied to it.

    Sources: megatron-core ``model_parallel_config.py`` and ``moe_layer.py`` (a MoE layer refuses
    to train with tp > 1 without it), ``arguments.py`` (``--tp-comm-overlap``).
    """
    parallel = recipe.parallel
    key = "parallel.sequence"
    if parallel.sequence and parallel.tp == 1:
        yield Problem(code="sequence_needs_tp", key=key, says="= true needs `parallel.tp` above 1")
    if parallel.sequence or parallel.tp == 1:
        return
    if recipe.model.experts is not None:
        says = f"= false, but experts with tp {parallel.tp} need it"
        yield Problem(code="sequence_needed", key=key, says=says)
    if recipe.kernels.tp_overlap:
        says = "= false, but `kernels.tp_overlap` needs it"
        yield Problem(code="sequence_needed", key=key, says=says)


def sequences_divide(recipe: Recipe) -> Iterator[Problem]:
    """Tokens of a sequence divide over context parallel, two parts a rank."""
    parallel, seq = recipe.parallel, recipe.model.seq
    if parallel.cp > 1 and seq % (2 * parallel.cp):
        says = f"= {parallel.cp} needs model.seq = {seq} to be a multiple of {2 * parallel.cp}"
        yield Problem(code="cp_not_divisor", key="parallel.cp", says=says)


def zero_fits_pipeline(recipe: Recipe) -> Iterator[Problem]:
    """ZeRO-2 and ZeRO-3 cannot be combined with pipeline parallelism.

    Source: DeepSpeed ``runtime/pipe/engine.py``.
    """
    zero, pp = recipe.optim.zero, recipe.parallel.pp
    if zero > 1 and pp > 1:
        says = f"= {zero} cannot be combined with pipeline parallelism (pp {pp})"
        yield Problem(code="zero_with_pipeline", key="optim.zero", says=says)


def precision_is_there(recipe: Recipe) -> Iterator[Problem]:
    """The GPU has the numbers that the recipe asks for."""
    gpu = recipe.cluster.gpu
    if recipe.precision.kind == "fp8" and gpu.fp8_tflops is None:
        yield Problem(
            code="precision_unsupported", key="precision.kind", says=f"= fp8: {gpu.name} has no FP8"
        )


def traces_need_their_tool(recipe: Recipe) -> Iterator[Problem]:
    """nsys traces GPUs."""
    if recipe.profile.tool == "nsys" and recipe.cluster.device != "cuda":
        says = f"= nsys needs GPUs, which cluster {recipe.cluster.name} does not have"
        hint = "`profile.tool=torch` traces a CPU too"
        yield Problem(code="conflict", key="profile.tool", says=says, hint=hint)


def schedule_fits_run(recipe: Recipe) -> Iterator[Problem]:
    """The warm-up ends before the decay does."""
    warmup, end = recipe.schedule.warmup, recipe.schedule.decay
    if end is not None and warmup > end:
        says = f"= {warmup} is more than `schedule.decay` = {end}"
        yield Problem(code="warmup_too_long", key="schedule.warmup", says=says)


RULES: tuple[Rule, ...] = (
    replicas_are_whole,
    experts_are_whole,
    nodes_are_full,
    cluster_is_large_enough,
    batches_divide,
    interleaving_divides,
    layers_divide,
    chunks_need_stages,
    tensors_divide,
    experts_divide,
    sequence_parallel_fits,
    sequences_divide,
    zero_fits_pipeline,
    precision_is_there,
    schedule_fits_run,
    traces_need_their_tool,
)
