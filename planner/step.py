"""The step: what a layout's stages compute and say to each other, and where the time goes.

The slowest stage works through all micro-batches; the others' first and last passes make the
bubble (:mod:`llmtrain.planner.schedule`); then gradients are reduced, the optimizer steps and
weights are gathered. Every key of the breakdown is exposed time, so the keys add up to the step.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from llmtrain.config.attention import is_unfused
from llmtrain.config.limit import half_weights
from llmtrain.config.model import Model
from llmtrain.config.recipe import Recipe
from llmtrain.planner.calibration import calibrated_stack
from llmtrain.planner.candidate import Candidate, candidate_of
from llmtrain.planner.collectives import Links, send_seconds
from llmtrain.planner.costs import Case, Cost
from llmtrain.planner.curves import Curves, curves_of
from llmtrain.planner.efficiency import Machine
from llmtrain.planner.loads import loads_of, pieces_of, whole_model
from llmtrain.planner.numeric import Quantity, choose, largest, logarithm, smallest
from llmtrain.planner.operators import tokens
from llmtrain.planner.replicas import replicas
from llmtrain.planner.schedule import bubble_seconds
from llmtrain.planner.stacks import Stack, chosen_stack, stack_of, with_deepep


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTime:
    """A step, in seconds."""

    breakdown: Mapping[str, Quantity]
    """Exposed seconds by what they go to."""
    error: float
    """Relative error that the stack's published runs show."""

    @property
    def seconds(self) -> Quantity:
        """The sum of the breakdown."""
        return sum(self.breakdown.values(), 0.0)

    @property
    def bounds(self) -> tuple[Quantity, Quantity]:
        """Where the step time probably lies."""
        return self.seconds * (1.0 - self.error), self.seconds * (1.0 + self.error)


def recipe_step(recipe: Recipe, stack: str | None = None) -> StepTime | None:
    """The step of one recipe; None where nothing is known of its processor."""
    curves = curves_of(recipe.cluster.gpu.arch)
    if curves is None:
        return None
    chosen = stack_of(stack or chosen_stack(recipe))
    return step_time(case_of(recipe, curves, chosen))


def case_of(recipe: Recipe, curves: Curves, stack: Stack) -> Case:
    """What the recipe's layers are timed in."""
    cluster, kernels = recipe.cluster, recipe.kernels
    asked = "unfused" if is_unfused(recipe) else kernels.attention
    if kernels.dispatcher == "deepep":
        stack = with_deepep(stack)
    stack = calibrated_stack(recipe, stack)
    machine = Machine(
        gpu=cluster.gpu,
        curves=curves,
        stack=stack,
        numbers=numbers_of(recipe),
        attention=attention_kernel(stack, asked, curves),
        grad_bytes=_grad_bytes(recipe),
        gathered_bytes=_gathered_bytes(recipe),
        block_scales=_block_scales(recipe),
        offload=recipe.optim.offload,
    )
    per_node = min(recipe.gpus, cluster.gpus_per_node)
    links = Links(network=cluster.network, curves=curves, per_node=per_node)
    return Case(model=recipe.model, layout=candidate_of(recipe), machine=machine, links=links)


def _grad_bytes(recipe: Recipe) -> float:
    half = half_weights(recipe) and recipe.optim.grad_dtype == "weights"
    return 2.0 if half else 4.0


def _block_scales(recipe: Recipe) -> bool:
    return recipe.precision.fp8.recipe in ("blockwise", "mxfp8")


def _gathered_bytes(recipe: Recipe) -> float:
    """Blocks' scales do not fit a shard: such weights are gathered in 16 bits and cast then
    (megatron-core ``reuse_grad_buf_for_mxfp8_param_ag``)."""
    fp8 = numbers_of(recipe) == "fp8" and recipe.precision.fp8.param_gather
    return 1.0 if fp8 and not _block_scales(recipe) else 2.0


def numbers_of(recipe: Recipe) -> str:
    """Of the layers' products: FP8 where the GPU has it."""
    kind = recipe.precision.kind
    if kind == "fp8" and recipe.cluster.gpu.fp8_tflops is None:
        return "bf16"
    return kind


def attention_kernel(stack: Stack, asked: str, curves: Curves) -> str:
    """The kernel that a stack runs for ``kernels.attention``; else flash-2."""
    kernel = stack.attention.get(asked, stack.attention["auto"])
    if kernel == "unfused" or kernel in curves.attention:
        return kernel
    return "flash2"


def step_time(case: Case) -> StepTime:
    """The step of a layout, or of an array of layouts."""
    stack, layout = case.machine.stack, case.layout
    slowest, total, alone = _stages(case)
    hops = hops_of(case)
    per_micro = {
        "gemm": slowest.gemm,
        "attention": slowest.attention,
        "elementwise": slowest.elementwise,
        "recompute": slowest.recompute,
        "launch": slowest.launch + stack.microbatch_seconds,
        "tensor_parallel": slowest.tensor,
        "context_parallel": slowest.context,
        "expert_parallel": slowest.expert,
        "pipeline": hops,
    }
    count = layout.microbatches
    breakdown = {key: count * value for key, value in per_micro.items()}
    each = slowest.total + stack.microbatch_seconds + hops
    whole = total + (stack.microbatch_seconds + hops) * layout.pp
    breakdown["bubble"] = bubble_seconds(each, whole, layout.vpp)
    shared = replicas(case, slowest, alone)
    breakdown["data_parallel"] = shared.exposed * _times(case)
    breakdown["optimizer"] = shared.optimizer
    breakdown["host"] = stack.step_seconds * 1.0
    nodes = largest(layout.gpus / case.links.per_node, 1.0)
    drift = stack.drift * logarithm(nodes)
    breakdown["stragglers"] = sum(breakdown.values(), 0.0) * drift
    corrected = {key: value * stack.measured for key, value in breakdown.items()}
    return StepTime(breakdown=corrected, error=stack.error)


def _times(case: Case) -> Quantity:
    """ZeRO-3 gathers and scatters for every micro-batch, the others once a step."""
    return choose(case.layout.zero >= 3, case.layout.microbatches, 1.0)


def _stages(case: Case) -> tuple[Cost, Quantity, Quantity]:
    """Costs of the slowest stage, seconds of all stages together, layers of the slowest."""
    pieces = pieces_of(case)
    slowest, *others = (pieces.of(load) for load in loads_of(case))
    for other in others:
        slowest = _pick(other.total > slowest.total, other, slowest)
    every = pieces.of(whole_model(case))
    return slowest, every.total, case.model.layers / case.layout.pp


def _pick(condition: object, yes: Cost, no: Cost) -> Cost:
    if isinstance(condition, bool):
        return yes if condition else no
    names = Cost.__dataclass_fields__
    return Cost(
        **{name: choose(condition, getattr(yes, name), getattr(no, name)) for name in names}
    )


def hops_of(case: Case) -> Quantity:
    """Messages between stages that a micro-batch waits for, forward and backward."""
    layout, stack = case.layout, case.machine.stack
    one = send_seconds(case.links, layout.pipeline_stride, stage_message(case.model, layout, stack))
    steady = 1.0 - warm_up(layout)
    shown = choose(layout.vpp > 1, 1.0 - stack.pipeline_overlap * steady, 1.0)
    return choose(layout.pp > 1, 2.0 * layout.vpp * one * shown, 0.0)


def stage_message(model: Model, layout: Candidate, stack: Stack) -> Quantity:
    """Bytes that a rank sends to the next stage for a micro-batch."""
    cut = choose((layout.sequence > 0) | (stack.scatter > 0), layout.tp, 1)
    return tokens(model, layout) * model.hidden * 2.0 / cut


def warm_up(layout: Candidate) -> Quantity:
    """Share of a stage's passes that lie in warm-up or flush, where messages are waited for.

    Source: megatron-core ``pipeline_parallel/schedules.py``: a middle stage warms up with
    (v - 1) p + (p - 1) chunks; only between them and the flush are messages overlapped
    (``overlap_p2p_comm_warmup_flush`` is off).
    """
    warm = (layout.vpp - 1.0) * layout.pp + (layout.pp - 1.0)
    return smallest(warm / (layout.vpp * layout.microbatches), 1.0)
