"""What all ranks know after a step, so that they act alike."""

from dataclasses import dataclass

import torch
import torch.distributed as dist

from llmtrain.trainer.control import Requests
from llmtrain.trainer.device import Device
from llmtrain.trainer.groups import Position
from llmtrain.trainer.step import Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreed:
    """The same on every rank."""

    loss: float
    """Mean nats per token over the global batch."""
    save: bool
    """Some rank was asked for a checkpoint."""
    stop: bool
    """Some rank was asked to stop."""


def agree(outcome: Outcome, position: Position, requests: Requests, device: Device) -> Agreed:
    """Sum the losses of the replicas and the requests of all ranks, in one small reduction."""
    mine = [outcome.loss / position.dp_size, float(requests.save()), float(requests.stop())]
    total = torch.tensor(mine, dtype=torch.float64, device=device.torch)
    dist.all_reduce(total)
    loss, save, stop = total.tolist()
    return Agreed(loss=loss, save=save > 0, stop=stop > 0)
