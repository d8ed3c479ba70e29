"""megatron-core's process groups under the names that DeepSpeed asks for."""

from typing import Any

import torch.distributed as dist
from megatron.core import parallel_state


class Groups:
    """The ``mpu`` of ``deepspeed.initialize``, which wants an object with these methods."""

    get_data_parallel_group = staticmethod(parallel_state.get_data_parallel_group)
    get_data_parallel_rank = staticmethod(parallel_state.get_data_parallel_rank)
    get_data_parallel_world_size = staticmethod(parallel_state.get_data_parallel_world_size)
    get_tensor_model_parallel_group = staticmethod(parallel_state.get_tensor_model_parallel_group)
    get_tensor_model_parallel_rank = staticmethod(parallel_state.get_tensor_model_parallel_rank)
    get_tensor_model_parallel_world_size = staticmethod(
        parallel_state.get_tensor_model_parallel_world_size
    )
    get_model_parallel_group = get_tensor_model_parallel_group
    get_model_parallel_rank = get_tensor_model_parallel_rank
    get_model_parallel_world_size = get_tensor_model_parallel_world_size

    def get_data_parallel_group_ranks(self) -> list[int]:
        """Global ranks of the replicas."""
        return dist.get_process_group_ranks(parallel_state.get_data_parallel_group())


def sum_over_tensor_ranks(params: Any) -> None:
    """Let sequence parallel ranks add up the gradients of the weights that they all hold.

    Each sees a part of the sequence. megatron-core adds them up behind the last micro-batch
    (``finalize_model_grads.py``); ZeRO has cut them by then, so here it happens in each backward
    pass, before DeepSpeed sees them.
    """
    group = parallel_state.get_tensor_model_parallel_group()
    for param in params:
        if getattr(param, "sequence_parallel", False) and group.size() > 1:
            param.register_hook(lambda gradient: _summed(gradient, group))


def _summed(gradient: Any, group: Any) -> Any:
    total = gradient.clone()
    dist.all_reduce(total, group=group)
    return total
