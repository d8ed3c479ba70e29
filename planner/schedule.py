"""The pipeline's schedule: simulated as the engines run it, and in closed form.

The simulation is the real order of forward and backward passes of every stage (1F1B and
interleaved 1F1B, Narayanan et al. 2021, arXiv 2104.04473, section 2.2; megatron-core
``pipeline_parallel/schedules.py``) with times that may differ between stages. The closed form is
what plan and search use; a test holds it against the simulation.
"""

from dataclasses import dataclass

from llmtrain.planner.numeric import Quantity, largest


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One chunk's forward or backward pass of one micro-batch."""

    stage: int
    """From 0."""
    chunk: int
    """Of the stage, from 0."""
    microbatch: int
    """From 0."""
    backward: bool
    """Backward pass."""
    start: float = 0.0
    """Seconds from the beginning of the step."""
    end: float = 0.0
    """Seconds from the beginning of the step."""


def order(stage: int, stages: int, chunks: int, microbatches: int) -> list[tuple[int, int, bool]]:
    """What a stage runs, in turn, as (chunk, micro-batch, backward).

    Warm-up, one forward and one backward pass in turn, cool-down. Interleaved, micro-batches go
    through a chunk in groups of ``stages``.
    """
    total = chunks * microbatches
    if chunks == 1:
        warm = min(stages - stage - 1, total)
    else:
        warm = min((stages - stage - 1) * 2 + (chunks - 1) * stages, total)
    forward = [_slot(number, stages, chunks, microbatches) for number in range(total)]
    run = [(*slot, False) for slot in forward[:warm]]
    for number in range(total):
        if warm + number < total:
            run.append((*forward[warm + number], False))
        chunk, microbatch = forward[number]
        run.append((chunks - 1 - chunk, microbatch, True))
    return run


def _slot(number: int, stages: int, chunks: int, microbatches: int) -> tuple[int, int]:
    """Chunk and micro-batch of the ``number``-th forward pass of a stage."""
    if chunks == 1:
        return 0, number
    group = number // (stages * chunks)
    size = min(stages, microbatches - group * stages)
    within = number - group * stages * chunks
    return within // size, group * stages + within % size


def simulate(
    forward: list[list[float]], backward: list[list[float]], microbatches: int, hop: float = 0.0
) -> list[Task]:
    """Run the schedule.

    Args:
        forward: seconds of a forward pass as ``[stage][chunk]``.
        backward: seconds of a backward pass, likewise.
        microbatches: of the step.
        hop: seconds a tensor takes from one stage to the next.

    Returns:
        Every task with its start and end, in the order in which they were found to start.
    """
    stages, chunks = len(forward), len(forward[0])
    queues = [order(stage, stages, chunks, microbatches) for stage in range(stages)]
    ready, position, clock = dict[tuple[int, int, bool], float](), [0] * stages, [0.0] * stages
    done: list[Task] = []
    moved = True
    while moved:
        moved = False
        for stage in range(stages):
            while position[stage] < len(queues[stage]):
                chunk, microbatch, is_backward = queues[stage][position[stage]]
                place = chunk * stages + stage
                needed = _needed(place, microbatch, is_backward, stages * chunks)
                if needed is not None and needed not in ready:
                    break
                arrival = ready[needed] + (hop if needed[0] != place else 0.0) if needed else 0.0
                begin = max(clock[stage], arrival)
                cost = (backward if is_backward else forward)[stage][chunk]
                clock[stage] = ready[place, microbatch, is_backward] = begin + cost
                done.append(
                    Task(
                        stage=stage, chunk=chunk, microbatch=microbatch, backward=is_backward,
                        start=begin, end=begin + cost,
                    )
                )  # fmt: skip
                position[stage] += 1
                moved = True
    return done


def _needed(
    place: int, microbatch: int, backward: bool, places: int
) -> tuple[int, int, bool] | None:
    """What must have ended: the chunk before, or for a backward pass the chunk behind."""
    if not backward:
        return (place - 1, microbatch, False) if place else None
    if place == places - 1:
        return place, microbatch, False
    return place + 1, microbatch, True


def makespan(tasks: list[Task]) -> float:
    """Seconds from the first start to the last end."""
    return max(task.end for task in tasks)


def bubble_seconds(slowest: Quantity, total: Quantity, chunks: Quantity) -> Quantity:
    """Idle time of the slowest stage in a step, in closed form, hops left out.

    Before and behind its own work lies one chunk's pass of every other stage. With even stages
    this is the (p - 1) / (v m) of arXiv 2104.04473, section 2.2.2.

    Args:
        slowest: seconds of the slowest stage, forward and backward, a micro-batch.
        total: the same of all stages together.
        chunks: of a stage.
    """
    return largest(total - slowest, 0.0) / chunks
