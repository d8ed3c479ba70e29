"""megatron-core's own engine: its schedules, gradient buffers, optimizer and checkpoints.

Tensors are stored by their place in the whole model (``dist_checkpointing``), which another layout
can read too.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from megatron.core import dist_checkpointing, parallel_state
from megatron.core.distributed import DistributedDataParallel
from megatron.core.models.gpt import GPTModel
from megatron.core.pipeline_parallel import get_forward_backward_func

from llmtrain.config.errors import RunError
from llmtrain.config.layout import degrees
from llmtrain.config.recipe import Recipe
from llmtrain.trainer import model, weights
from llmtrain.trainer.batches import MicroBatch
from llmtrain.trainer.bucket_padding import count_padding
from llmtrain.trainer.device import Device
from llmtrain.trainer.engine import Work
from llmtrain.trainer.groups import Position
from llmtrain.trainer.guard import GuardedOptimizer
from llmtrain.trainer.optimizer import one_or_all, optimizer_for, wrap
from llmtrain.trainer.writing import Planner, ShardedPart


class MegatronEngine:
    """One rank of it; see :class:`llmtrain.trainer.engine.Engine`."""

    def __init__(self, recipe: Recipe, position: Position, device: Device) -> None:
        """Build and fill this rank's part of the model."""
        self.recipe, self.position = recipe, position
        self.parts: list[GPTModel] = list(model.build(recipe, position, device))
        for part in self.parts:
            weights.fill(part, weights.global_names(part, recipe, position), recipe, position)
        self.chunks: list[DistributedDataParallel] = [wrap(part, recipe) for part in self.parts]
        self.optimizer = GuardedOptimizer(optimizer_for(self.chunks, recipe, device))
        self._planner = Planner()
        count_padding(self.optimizer)

    @property
    def norm(self) -> float:
        """Of all gradients."""
        return self.optimizer.norm

    @property
    def loss_scale(self) -> float:
        """The optimizer's."""
        return float(self.optimizer.get_loss_scale())

    def forward_backward(self, work: Work, rate: float) -> list[torch.Tensor]:
        """By the schedule for the recipe's stages."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
            # 0 for biases and norms; megatron-core leaves it to its scheduler to apply.
            group["weight_decay"] = self.recipe.optim.weight_decay * group["wd_mult"]
        for chunk in self.chunks:
            chunk.zero_grad_buffer()
        self.optimizer.zero_grad()
        return self._schedule(work, forward_only=False)

    def update(self) -> bool:
        """Adam; whether a gradient of fp16 has overflowed."""
        _, norm, _ = self.optimizer.step()
        return norm is None

    def pass_over(self) -> None:
        """Nothing: the next step clears the buffers."""

    def evaluate(self, work: Work) -> list[torch.Tensor]:
        """Forward alone."""
        for chunk in self.chunks:
            chunk.eval()
        with torch.no_grad():
            losses = self._schedule(work, forward_only=True)
        for chunk in self.chunks:
            chunk.train()
        return losses

    def _schedule(self, work: Work, *, forward_only: bool) -> list[torch.Tensor]:
        reports: list[Report] = get_forward_backward_func()(
            forward_step_func=forward,
            data_iterator=one_or_all([work.read() for _ in self.chunks]),
            model=one_or_all(self.chunks),
            num_microbatches=work.count,
            seq_length=self.recipe.model.seq,
            micro_batch_size=self.recipe.batch.micro,
            forward_only=forward_only,
        )
        return [report["loss"] for report in reports]

    def part(self, folder: Path, facts: dict[str, Any]) -> ShardedPart:
        """What megatron-core gives this rank to write."""
        state = {**self._state(loading=False), **facts, "zero": self.recipe.optim.zero}
        # For who looks at the checkpoint before it is read; any layout reads it.
        state["layout"] = degrees(self.recipe)
        return self._planner.plan(state, folder, leads=torch.distributed.get_rank() == 0)

    def restore(self, path: Path) -> dict[str, Any]:
        """From any layout of the same kind of optimizer."""
        self._refuse_other(path)
        state = dist_checkpointing.load(self._state(loading=True), str(path))
        for number, part in enumerate(self.parts):
            part.load_state_dict(state[f"model{number}"])
        self.optimizer.load_state_dict(state["optimizer"])
        return {"step": state["step"], "more": state["more"]}

    def _refuse_other(self, path: Path) -> None:
        if not dist_checkpointing.check_is_distributed_checkpoint(str(path)):
            says = f"{path.name} was not written by the backend megatron-core"
            raise RunError(says, hint="`llmtrain resume` goes on with the backend of the run")
        zero = dist_checkpointing.load_common_state_dict(str(path))["zero"]
        if zero != self.recipe.optim.zero:
            says = (
                f"{path.name} was written with `optim.zero` = {zero}, not {self.recipe.optim.zero}"
            )
            raise RunError(says, hint=f"`optim.zero={zero}` reads it")

    def _state(self, *, loading: bool) -> dict[str, Any]:
        metadata = {
            "distrib_optim_sharding_type": "fully_reshardable",
            "distrib_optim_fully_reshardable_mem_efficient": False,
            "chained_optim_avoid_prefix": True,
        }
        parts = {
            f"model{number}": part.sharded_state_dict(metadata=metadata)
            for number, part in enumerate(self.parts)
        }
        optimizer = self.optimizer.sharded_state_dict(parts, is_loading=loading, metadata=metadata)
        return {**parts, "optimizer": optimizer}


Report = dict[str, torch.Tensor]
"""What the schedule hands back for each micro-batch."""


def forward(
    data: Iterator[MicroBatch] | None, chunk: Any
) -> tuple[torch.Tensor, Callable[[torch.Tensor], tuple[torch.Tensor, Report]]]:
    """One micro-batch through this stage, as megatron-core's schedules call it."""
    if data is None:
        return chunk(input_ids=None, position_ids=None, attention_mask=None), mean_loss
    batch = next(data)
    output = chunk(
        input_ids=batch.tokens,
        position_ids=batch.positions,
        attention_mask=None,
        labels=batch.labels,
    )
    return output, mean_loss


def mean_loss(losses: torch.Tensor) -> tuple[torch.Tensor, Report]:
    """Mean over the tokens of a micro-batch; every token counts, so means of means are the mean.

    Under context parallel each rank has its part of the mean: the schedule takes it for a sum.
    """
    loss = losses.float().mean() / parallel_state.get_context_parallel_world_size()
    # A copy: the schedule divides the loss in place.
    return loss, {"loss": loss.detach().clone()}
