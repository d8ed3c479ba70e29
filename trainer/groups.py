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
    cp: int
    """Context parallel rank."""
    cp_size: int
    """Context parallel ranks."""
    dp: int
    """Replica."""
    dp_size: int
    """Replicas."""
    ep: int
    """Expert parallel rank."""
    ep_size: int
    """Expert parallel ranks."""
    etp: int
    """Expert tensor parallel rank."""
    etp_size: int
    """Expert tensor parallel ranks."""

    @property
    def first_stage(self) -> bool:
        """Whether this rank embeds the tokens."""
        return self.pp == 0

    @property
    def last_stage(self) -> bool:
        """Whether this rank computes the loss."""
        return self.pp == self.pp_size - 1

    @property
    def reads_tokens(self) -> bool:
        """Whether this rank embeds tokens or foretells them: stages in the middle do neither."""
        return self.first_stage or self.last_stage

    @property
    def reports_loss(self) -> bool:
        """Whether this rank's loss counts: in each replica every token counts once."""
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
        context_parallel_size=parallel.cp,
        expert_model_parallel_size=parallel.ep,
        expert_tensor_parallel_size=parallel.expert_tp if recipe.model.experts else None,
        order=parallel.order,
    )
    return _position()


def _position() -> Position:
    """Where megatron-core has put this rank."""
    return Position(
        tp=parallel_state.get_tensor_model_parallel_rank(),
        tp_size=parallel_state.get_tensor_model_parallel_world_size(),
        pp=parallel_state.get_pipeline_model_parallel_rank(),
        pp_size=parallel_state.get_pipeline_model_parallel_world_size(),
        cp=parallel_state.get_context_parallel_rank(),
        cp_size=parallel_state.get_context_parallel_world_size(),
        dp=parallel_state.get_data_parallel_rank(),
        dp_size=parallel_state.get_data_parallel_world_size(),
        ep=parallel_state.get_expert_model_parallel_rank(),
        ep_size=parallel_state.get_expert_model_parallel_world_size(),
        etp=parallel_state.get_expert_tensor_parallel_rank(),
        etp_size=parallel_state.get_expert_tensor_parallel_world_size(),
    )


def leave() -> None:
    """Dissolve the groups."""
    parallel_state.destroy_model_parallel()
    dist.destroy_process_group()
