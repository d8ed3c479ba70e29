"""Mends how megatron-core 0.16 finds a parameter's moments in the distributed optimizer's buffers.

For a checkpoint it copies the buckets of a buffer together without the padding at their ends
(``get_parameter_state_dp_zero``), but looks the parameters up where they are with it
(``sharded_param_state_fully_reshardable``). Behind the first padded bucket every parameter is then
saved with the moments of its neighbours. Padding that counts as content stays where it is.
"""

from megatron.core.optimizer.optimizer import ChainedOptimizer


def count_padding(optimizer: ChainedOptimizer) -> None:
    """Let padding count as content; the plain optimizer has no such buffers."""
    for each in optimizer.chained_optimizers:
        for buffer in getattr(each, "buffers", ()):
            buffer.numel_unpadded = buffer.numel
            for bucket in buffer.buckets:
                bucket.numel_unpadded = bucket.grad_data.numel()
