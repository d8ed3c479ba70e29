"""How many micro-batches a stage holds between their forward and backward passes.

Source: megatron-core 0.16 ``pipeline_parallel/schedules.py`` (``get_pp_rank_microbatches``,
``get_schedule_table``): the warm-up of a stage is pp - stage - 1 forward passes, interleaved
2 (pp - stage - 1) + (vpp - 1) pp of chunks; then each forward pass is followed by a backward pass.
Without stages the forward and the backward pass of each micro-batch take turns.
"""

from llmtrain.planner.numeric import Quantity, choose, largest, smallest


def warmup(pp: Quantity, vpp: Quantity, stage: Quantity) -> Quantity:
    """Forward passes of chunks before the first backward pass, the one beside it not counted."""
    behind = pp - stage - 1
    return choose(vpp > 1, 2 * behind + (vpp - 1) * pp, behind)


def in_flight(
    pp: Quantity, vpp: Quantity, stage: Quantity, microbatches: Quantity, later: Quantity = 0
) -> tuple[Quantity, Quantity]:
    """Chunk passes that were run forward and backward, ``later`` pairs after the warm-up."""
    total = microbatches * vpp
    forward = smallest(warmup(pp, vpp, stage) + 1 + later, total)
    return forward, largest(smallest(later, total - warmup(pp, vpp, stage) - 1), 0)


def of_chunk(passes: Quantity, pp: Quantity, vpp: Quantity, number: Quantity) -> Quantity:
    """How many of the first ``passes`` are of chunk ``number``: they go round in groups of pp."""
    turn = pp * vpp
    rest = smallest(largest(passes % turn - number * pp, 0), pp)
    return passes // turn * pp + rest


def held_of_chunk(
    forward: Quantity, backward: Quantity, pp: Quantity, vpp: Quantity, number: Quantity
) -> Quantity:
    """Micro-batches of chunk ``number`` in flight; backward passes take the chunks in reverse."""
    done = of_chunk(backward, pp, vpp, vpp - 1 - number)
    return largest(of_chunk(forward, pp, vpp, number) - done, 0)


def held(
    pp: Quantity,
    vpp: Quantity,
    stage: Quantity,
    microbatches: Quantity,
    sizes: tuple[Quantity, ...],
    moments: tuple[int, ...] = (0,),
) -> Quantity:
    """The most that chunks of ``sizes`` bytes hold at once, looked at in these ``moments``."""
    return largest(
        *(
            _held_at(in_flight(pp, vpp, stage, microbatches, later), pp, vpp, sizes)
            for later in moments
        )
    )


def _held_at(
    passes: tuple[Quantity, Quantity], pp: Quantity, vpp: Quantity, sizes: tuple[Quantity, ...]
) -> Quantity:
    return sum(
        (
            size * held_of_chunk(*passes, pp, vpp, number) * choose(number < vpp, 1, 0)
            for number, size in enumerate(sizes)
        ),
        0.0,
    )


def moments(pp: int, vpp: int, stage: int) -> tuple[int, ...]:
    """Pairs of passes after the warm-up at which uneven chunks can hold most.

    Between two changes of chunk, forward or backward, the rate is constant.
    """
    first = -(int(warmup(pp, vpp, stage)) + 1) % pp
    turns = range(0, pp * vpp, pp)
    return tuple(turns) + tuple(first + turn for turn in turns)
