"""What all ranks know, so that they act alike."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from llmtrain.trainer.device import Device
from llmtrain.trainer.groups import Position

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """What one rank has to say in a step."""

    loss: float
    """Mean nats per token of its replica; 0 on a rank that does not compute the loss."""
    save: bool
    """It was asked for a checkpoint."""
    stop: bool
    """It was asked to stop."""
    writing: bool
    """It still writes its part of a checkpoint."""
    compute_seconds: float
    """Forward and backward pass, without what was spent in collectives."""
    memory_bytes: int
    """Most bytes of tensors since it spoke last; on a CPU, in the steps that are measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreed:
    """The same on every rank."""

    loss: float
    """Mean nats per token over the global batch."""
    save: bool
    """Some rank was asked for a checkpoint."""
    stop: bool
    """Some rank was asked to stop."""
    writing: bool
    """Some rank still writes its part of a checkpoint."""
    compute_seconds: tuple[float, ...]
    """Of each rank."""
    memory_bytes: tuple[int, ...]
    """Of each rank."""


def agree(said: Said, position: Position, device: Device) -> Agreed:
    """Sum what the ranks say, in one reduction: a few numbers and two for each rank."""
    rank, world = dist.get_rank(), dist.get_world_size()
    total = torch.zeros(4 + 2 * world, dtype=torch.float64)
    flags = [float(flag) for flag in (said.save, said.stop, said.writing)]
    total[:4] = torch.tensor([said.loss / position.dp_size, *flags], dtype=torch.float64)
    total[4 + rank], total[4 + world + rank] = said.compute_seconds, said.memory_bytes
    total = total.to(device.torch)
    dist.all_reduce(total)
    loss, save, stop, writing, *each = total.tolist()
    return Agreed(
        loss=loss,
        save=save > 0,
        stop=stop > 0,
        writing=writing > 0,
        compute_seconds=tuple(each[:world]),
        memory_bytes=tuple(int(size) for size in each[world:]),
    )


def from_leader(ask: Callable[[], Value]) -> Value:
    """What rank 0 answers; the others are not asked."""
    answer: list[Any] = [ask() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(answer)
    value: Value = answer[0]
    return value


def failure_of_leader(act: Callable[[], None]) -> str | None:
    """Let rank 0 do something with files; on every rank why it failed, None if it did not."""

    def tried() -> str | None:
        try:
            act()
        except OSError as error:
            return why(error)
        return None

    return from_leader(tried)


def why(error: OSError) -> str:
    """An error of the file system in a few words."""
    where = f": {error.filename}" if error.filename else ""
    return f"{error.strerror or error}{where}"
