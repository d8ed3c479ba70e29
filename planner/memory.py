"""Memory of one rank of every stage: model states, activations in flight, workspace."""

from dataclasses import dataclass

from llmtrain.config.layout import stage_layers
from llmtrain.config.recipe import Recipe
from llmtrain.planner.activations import Chunk
from llmtrain.planner.calibration import memory_factor
from llmtrain.planner.deepspeed_memory import engine_bytes, host_bytes
from llmtrain.planner.inflight import moments
from llmtrain.planner.model_states import (
    bytes_each,
    fp8_weight,
    gradient_bytes,
    sharded,
)
from llmtrain.planner.numeric import Quantity
from llmtrain.planner.parameters import (
    Count,
    cut_of,
    embedding_matrix,
    layer,
    rank_parameters,
)
from llmtrain.planner.programs import Program
from llmtrain.planner.setting import Setting, setting_of
from llmtrain.planner.timeline import Held, Moment, timeline
from llmtrain.planner.workspace import buffers, fixed, gathered_weights, reduction


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Bytes on one rank."""

    weights: int
    """As the forward pass holds them, copies in FP8 included."""
    gradients: int
    """The buffer in which they are summed."""
    optimizer: int
    """Master weights and Adam's two moments."""
    activations: int = 0
    """What forward passes have left for backward passes, at its most."""
    workspace: int = 0
    """Transients of the fullest moment, communication, buffers, context, the allocator's slack."""

    @property
    def total(self) -> int:
        """The sum: the most that the rank needs."""
        return self.model_states + self.activations + self.workspace

    @property
    def model_states(self) -> int:
        """Weights, gradients and optimizer together."""
        return self.weights + self.gradients + self.optimizer


@dataclass(frozen=True, kw_only=True, slots=True)
class Peak:
    """The memory of one stage and how it came about."""

    memory: Memory
    """Of one rank."""
    moments: tuple[Moment, ...]
    """The phases of a step at their fullest."""
    constant: int
    """The part of the workspace that every moment has: context, communication, slack, buffers."""
    releasable: int
    """Bytes that the allocator holds and gives back when it must; no reason to fail."""

    @property
    def fullest(self) -> Moment:
        """The moment of the peak."""
        return max(self.moments, key=lambda moment: moment.total)

    @property
    def allocated(self) -> int:
        """What the framework's allocator counts as allocated: no context, NCCL or slack."""
        return self.memory.total - self.constant

    @property
    def needed(self) -> int:
        """Without this much the step fails."""
        return self.memory.total - self.releasable


def model_states(recipe: Recipe, parameters: Count) -> Memory:
    """Bytes of ``parameters`` (of one rank) with their gradients and optimizer states."""
    return _states(recipe, setting_of(recipe), parameters)


def _states(recipe: Recipe, setting: Setting, parameters: Count) -> Memory:
    each, layout = bytes_each(recipe), setting.layout
    # A CPU's host memory is the only one there is.
    beside = host_bytes(recipe, parameters) if recipe.cluster.device == "cpu" else 0
    return Memory(
        weights=_whole(sharded(layout, parameters, each.weight, 3)),
        gradients=_whole(sharded(layout, parameters, each.gradient, 2)),
        optimizer=_whole(sharded(layout, parameters, each.optimizer, 1)) + beside,
    )


def peak_memory(recipe: Recipe, program: Program | None = None) -> tuple[Peak, ...]:
    """Every stage, from the first to the last.

    Args:
        recipe: what is planned; it breaks no rule.
        program: who runs it, where it is not the recipe's backend (published measurements).
    """
    setting = setting_of(recipe, program)
    return tuple(
        stage_peak(recipe, setting, number, chunks)
        for number, chunks in enumerate(stage_layers(recipe))
    )


def stage_peak(
    recipe: Recipe, setting: Setting, number: int, chunks: tuple[tuple[int, ...], ...]
) -> Peak:
    """One stage, with layer numbers chunk by chunk."""
    parameters = rank_parameters(recipe, number)
    part = Held(
        stage=number, chunks=chunks_of(recipe, chunks), moments=moments_of(recipe, number, chunks)
    )
    phases = timeline(setting, part)
    most = max(moment.total for moment in phases)
    saved = max(moment.saved for moment in phases)
    constant = fixed(setting)
    stays = buffers(setting) + reduction(setting, parameters) + gathered_layers(recipe, setting)
    stays += gradient_copies(recipe, setting, parameters)
    states, measured = _states(recipe, setting, parameters), memory_factor(recipe)
    fp8 = fp8_weight(recipe) * (parameters.total - ends_of(recipe, number))
    return Peak(
        memory=Memory(
            weights=states.weights + fp8,
            gradients=states.gradients,
            optimizer=states.optimizer,
            activations=_whole(measured * saved),
            workspace=_whole(measured * (most - saved + stays) + constant),
        ),
        moments=phases,
        constant=_whole(constant),
        releasable=_whole(releasable_bytes(recipe, setting, parameters)),
    )


def releasable_bytes(recipe: Recipe, setting: Setting, parameters: Count) -> float:
    """The optimizer step allocates when activations are gone: it only adds to what is reserved."""
    each = setting.program.step_copy
    if setting.program.step_gradients and recipe.optim.grad_dtype == "weights":
        each += 4 if setting.width < 4 and not recipe.optim.offload else 0
    return parameters.total * each / (setting.layout.dp * setting.layout.cp)


def gradient_copies(recipe: Recipe, setting: Setting, parameters: Count) -> Quantity:
    """Beside the sums of gradients: what DeepSpeed's engine keeps.

    Its BF16 optimizer adds bf16 gradients to fp32 sums after each micro-batch.
    """
    summed = recipe.precision.kind == "bf16" and recipe.optim.grad_dtype == "fp32"
    copied = parameters.total * setting.width * setting.program.gradient_copy * summed
    return copied + engine_bytes(recipe, setting, parameters)


def chunks_of(recipe: Recipe, chunks: tuple[tuple[int, ...], ...]) -> tuple[Chunk, ...]:
    """How many layers of each kind the chunks have."""
    found = []
    for numbers in chunks:
        moe = sum(recipe.model.is_moe_layer(number) for number in numbers)
        found.append(Chunk(dense=len(numbers) - moe, moe=moe))
    return tuple(found)


def moments_of(recipe: Recipe, stage: int, chunks: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    """When a stage can hold most."""
    kinds = set(chunks_of(recipe, chunks))
    if len(kinds) == 1:
        return (0,)
    return moments(recipe.parallel.pp, recipe.parallel.vpp, stage)


def gathered_layers(recipe: Recipe, setting: Setting) -> float:
    """What ZeRO-3 gathers for a moment; 0 below it."""
    if recipe.optim.zero < 3:
        return 0
    biggest = layer(recipe.model, recipe.model.layers - 1, cut_of(recipe))
    gradient = gradient_bytes(recipe.precision, recipe.optim)
    ends = embedding_matrix(recipe) // recipe.parallel.tp * (1 if recipe.model.tied else 2)
    return gathered_weights(setting, biggest, ends, gradient)


def ends_of(recipe: Recipe, stage: int) -> int:
    """Parameters of embedding and output layer on a rank of ``stage``: never in FP8."""
    ends = (stage == 0) + (stage == recipe.parallel.pp - 1)
    count = min(ends, 1 if recipe.model.tied and recipe.parallel.pp == 1 else 2)
    return count * embedding_matrix(recipe) // recipe.parallel.tp


def _whole(value: float) -> int:
    return round(value)
