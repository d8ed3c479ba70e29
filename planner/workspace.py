"""Bytes that are neither model states nor activations: context, communication, buffers, slack.

Sources: the constants' are in ``data/memory.yaml``; megatron-core ``core/utils.py``
(``GlobalMemoryBuffer``); FSDP gathers one layer ahead (pytorch ``torch/distributed/fsdp``).
"""

from llmtrain.planner.numeric import Quantity, choose, largest, smallest
from llmtrain.planner.parameters import Count
from llmtrain.planner.programs import Program, constant
from llmtrain.planner.setting import Setting


def fixed(setting: Setting) -> Quantity:
    """CUDA's context, NCCL's channels of every group, what the allocator cannot use."""
    if setting.program.name == "cpu":
        return 0
    return context(setting.program) + communicators(setting) + constant("slack_bytes")


def context(program: Program) -> float:
    """CUDA's context."""
    return constant("eager_context_bytes" if program.eager_context else "context_bytes")


def communicators(setting: Setting) -> Quantity:
    """A communicator for each kind of group that has more than one rank."""
    layout = setting.layout
    degrees = (layout.tp, layout.pp, layout.dp * layout.cp, layout.cp)
    groups = sum(choose(degree > 1, 1, 0) for degree in degrees)
    peers = smallest(layout.ep - 1, 7) / 7
    return groups * constant("group_bytes") + peers * constant("exchange_bytes")


def buffers(setting: Setting) -> Quantity:
    """Buffers that stay: the gathered input or the scores' input, the pipeline's messages."""
    model, layout = setting.model, setting.layout
    gathered = setting.tokens * model.hidden * setting.width * setting.program.gather_buffer
    gathered = choose(layout.sequence, gathered, 0)
    heads = model.heads / layout.tp
    pairs = setting.tokens * model.seq * heads * setting.width
    scores = 0 if setting.flash else pairs
    messages = choose(layout.pp > 1, 2 * setting.hidden, 0)
    return largest(gathered, scores) + messages


def reduction(setting: Setting, parameters: Count) -> Quantity:
    """Buckets that are copied before they are reduced, and what the optimizer step allocates."""
    program, layout = setting.program, setting.layout
    bucket = smallest(parameters.total, program.bucket_parameters) * setting.width
    replicas = layout.dp * layout.cp
    step = parameters.total * program.step_copy / replicas
    return choose(replicas > 1, bucket, 0) + step


def gathered_weights(setting: Setting, layer: Count, ends: Quantity, gradient: float) -> Quantity:
    """ZeRO-3: two layers' weights, the embedding and output layer, a layer's gradients.

    Args:
        setting: the layout.
        layer: parameters of the largest layer on a rank.
        ends: parameters of embedding and output layer on a rank.
        gradient: bytes of a gradient before it is scattered.
    """
    weights = (2 * layer.total + ends) * setting.width
    return choose(setting.layout.zero > 2, weights + largest(layer.total, ends) * gradient, 0)
