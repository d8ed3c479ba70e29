"""Which tokens of a sequence a context parallel rank holds.

A causal token attends to all before it, so equal parts in a row would give the last rank most of
the work. As in megatron-core (``get_batch_on_this_cp_rank``, and its rotary positions) rank r of n
holds two of 2 n parts, number r and number 2 n - 1 - r.
"""

import torch


def places(rank: int, ranks: int, length: int) -> torch.Tensor:
    """Places in the whole sequence of the ``length`` tokens that ``rank`` of ``ranks`` holds."""
    if ranks == 1:
        return torch.arange(length)
    part = length // 2
    first, second = rank * part, (2 * ranks - 1 - rank) * part
    return torch.cat([torch.arange(first, first + part), torch.arange(second, second + part)])
