"""Multi-token prediction under context parallel: every rank divides by the same count of tokens.

The end of a sequence has nothing to be foretold, so the rank that holds it counts fewer tokens.
megatron-core divides each rank's loss by its own count and takes the mean of these means, which
weighs that rank's tokens more than the others'.
"""

from typing import Any

import torch
import torch.distributed as dist
from megatron.core.models.gpt import gpt_model
from megatron.core.transformer.multi_token_prediction import roll_tensor


def roll(
    tensor: torch.Tensor, *args: Any, cp_group: dist.ProcessGroup, **named: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """As megatron-core's ``roll_tensor``, whose second result becomes the mean over the ranks."""
    rolled, count = roll_tensor(tensor, *args, cp_group=cp_group, **named)
    shared = count.float()
    dist.all_reduce(shared, group=cp_group)
    return rolled, shared / cp_group.size()


def install() -> None:
    """Let megatron-core's model count so; a second call changes nothing."""
    setattr(gpt_model, "roll_tensor", roll)  # noqa: B010
