"""The process groups of a run, and where a rank stands in them."""

from dataclasses import dataclass

import torch.distributed as dist
from megatron.core import parallel_state

from llmtrain.config.recipe import Recipe
from llmtrain.trainer.device import Device
from llmtrain.trainer.rank import Rank


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """A rank's place on each axis, each from 0."""

    tp: int
    """Tensor parallel rank."""
    tp_size: int
    """Tensor parallel ranks."""
    pp: int
    """Stage."""
    pp_size: int
    """Stages."""
    dp: int
    """Replica."""
    dp_size: int
    """Replicas."""

    @property
    def first_stage(self) -> bool:
        """Whether this rank embeds the tokens."""
        return self.pp == 0

    @property
    def last_stage(self) -> bool:
        """Whether this rank computes the loss."""
        return self.pp == self.pp_size - 1

    @property
    def reports_loss(self) -> bool:
        """Whether this rank's loss counts: one rank of each replica's last stage."""
        return self.last_stage and self.tp == 0


def join(recipe: Recipe, rank: Rank, device: Device) -> Position:
    """Meet the other ranks and form megatron-core's groups."""
    dist.init_process_group(
        device.backend,
        # Alone there is nobody to meet, and no address is needed.
        store=dist.HashStore() if rank.alone else None,  # type: ignore[attr-defined]
        rank=rank.number,
        world_size=rank.world,
        device_id=device.torch if device.cuda else None,
    )
    parallel = recipe.parallel
    parallel_state.initialize_model_parallel(
        tensor_model_parallel_size=parallel.tp,
        pipeline_model_parallel_size=parallel.pp,
        virtual_pipeline_model_parallel_size=parallel.vpp if parallel.vpp > 1 else None,
        order=parallel.order,
    )
    return Position(
        tp=parallel_state.get_tensor_model_parallel_rank(),
        tp_size=parallel.tp,
        pp=parallel_state.get_pipeline_model_parallel_rank(),
        pp_size=parallel.pp,
        dp=parallel_state.get_data_parallel_rank(),
        dp_size=parallel_state.get_data_parallel_world_size(),
    )


def leave() -> None:
    """Dissolve the groups."""
    parallel_state.destroy_model_parallel()
    dist.destroy_process_group()
