"""What both of DeepSpeed's engines share: optimizer, loss scale, state."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import deepspeed
import torch
from megatron.core.transformer.moe.moe_utils import MoEAuxLossAutoScaler
from megatron.core.transformer.multi_token_prediction import MTPLossAutoScaler

from llmtrain.config.recipe import Recipe
from llmtrain.trainer import weights
from llmtrain.trainer.deepspeed import experts
from llmtrain.trainer.deepspeed.files import FilesPart, Recorder
from llmtrain.trainer.deepspeed.groups import sum_over_tensor_ranks
from llmtrain.trainer.deepspeed.optimizer import Norms, adam
from llmtrain.trainer.deepspeed.universal import LAYOUT, Sharding, converted
from llmtrain.trainer.engine import Work
from llmtrain.trainer.groups import Position

KIND = ("weight_decay", "moe", "name")
"""What makes a group of parameters what it is."""


class DeepSpeed(ABC):
    """One rank of it; see :class:`llmtrain.trainer.engine.Engine`."""

    def __init__(
        self,
        recipe: Recipe,
        position: Position,
        module: torch.nn.Module,
        names: weights.Names,
        **named: Any,
    ) -> None:
        """Hand ``module``, whose parameters have these ``names`` in the whole model, to DeepSpeed;
        ``named`` is more for ``deepspeed.initialize``.
        """
        sum_over_tensor_ranks(module.parameters())
        called = experts.called(names)
        cuts = weights.cuts(module, names, recipe, position)
        cuts = {called[name]: cut for name, cut in cuts.items()}
        self._sharding = Sharding.of(cuts, recipe, position)
        with experts.known(module, recipe.optim.zero):
            engine, *_ = deepspeed.initialize(
                model=module,
                model_parameters=list(module.parameters()),
                optimizer=adam(module.named_parameters(), recipe.optim),
                **named,
            )
        experts.rename(engine, called)
        self.recipe, self.engine = recipe, engine
        self.norm = 0.0
        self._norms = Norms(engine, recipe.optim.clip)
        self._recorder = Recorder(engine.checkpoint_engine)
        engine.checkpoint_engine = self._recorder
        # It would put its scripts beside the checkpoints.
        engine._copy_recovery_script = lambda folder: None
        groups = engine.optimizer.param_groups
        self._kinds = [{key: group[key] for key in KIND if key in group} for group in groups]

    @property
    def loss_scale(self) -> float:
        """The optimizer's, with fp16."""
        return float(getattr(self.engine.optimizer, "loss_scale", 1.0))

    def forward_backward(self, work: Work, rate: float) -> list[torch.Tensor]:
        """By DeepSpeed's schedule; the update is left."""
        for group in self.engine.optimizer.param_groups:
            group["lr"] = rate
        micro, replicas = self.recipe.batch.micro, self.engine.dp_world_size
        # A batch ramp changes the number of micro-batches.
        self.engine.set_train_batch_size(work.count * micro * replicas)
        self._scale_other_losses(work.count)
        return self.gradients(work)

    @abstractmethod
    def gradients(self, work: Work) -> list[torch.Tensor]:
        """Forward and backward passes; the mean loss of each micro-batch."""

    @abstractmethod
    def take_step(self) -> None:
        """Let DeepSpeed update."""

    def update(self) -> bool:
        """Adam; whether a gradient of fp16 has overflowed."""
        self.take_step()
        self.norm = self._norms.last()
        overflowed = self.recipe.precision.kind == "fp16" and not math.isfinite(self.norm)
        self.norm = 0.0 if overflowed else self.norm
        return overflowed

    def pass_over(self) -> None:
        """Let DeepSpeed find a norm that is no number: it then forgets the gradients."""
        with self._norms.vetoed():
            self.take_step()
        self.norm = 0.0

    def _scale_other_losses(self, count: int) -> None:
        """Balance of experts and tokens further on: they join the loss in its backward pass."""
        scale = torch.tensor(self.loss_scale / count)
        MoEAuxLossAutoScaler.set_loss_scale(scale)
        MTPLossAutoScaler.set_loss_scale(scale)

    def part(self, folder: Path, facts: dict[str, Any]) -> FilesPart:
        """DeepSpeed's own files; the folder's name is what it calls a tag."""
        more = {**facts, "universal_checkpoint_info": self._sharding.info}
        with experts.hidden(self.engine):
            files = self._recorder.record(
                lambda: self.engine.save_checkpoint(
                    str(folder.parent), tag=folder.name, client_state=more, save_latest=False
                )
            )
        if self._keeps_experts and experts.leads():
            files[experts.file_name()] = experts.state(self.engine.module, self.engine.optimizer)
        if self.recipe.optim.zero < 3 and experts.own(self.engine.module):
            experts.of_every_rank(files, self.recipe.model.experts or 0)
        layout = {LAYOUT: self._sharding.layout.text()} if torch.distributed.get_rank() == 0 else {}
        return FilesPart(folder=folder, files=files, small=layout)

    def restore(self, path: Path) -> dict[str, Any]:
        """From the same layout; from another by way of DeepSpeed's universal checkpoint."""
        with converted(path, self._sharding) as (readable, universal):
            # The configuration is asked each time.
            self.engine._config.load_universal_checkpoint = universal
            with experts.hidden(self.engine):
                _, facts = self.engine.load_checkpoint(
                    str(readable.parent),
                    tag=readable.name,
                    load_lr_scheduler_states=False,
                    # The empty entries are missing, see Recorder.
                    load_module_strict=False,
                )
        self.engine._config.load_universal_checkpoint = False
        self._restore_experts(path)
        self._restore_kinds()
        part_steps(self.engine.optimizer)
        return {"step": facts["step"], "more": facts["more"]}

    @property
    def _keeps_experts(self) -> bool:
        """Whether DeepSpeed's files hold the first replica's experts only: without ZeRO."""
        return self.recipe.optim.zero == 0 and bool(experts.own(self.engine.module))

    def _restore_experts(self, path: Path) -> None:
        """This rank's, where the files that all replicas read have those of the first."""
        module, optimizer = self.engine.module, self.engine.optimizer
        if self._keeps_experts:
            held = torch.load(path / experts.file_name(), weights_only=True)
            experts.put_back(module, optimizer, held)
        elif self.recipe.optim.zero < 3 and experts.own(module):
            optimizer.update_lp_params()

    def _restore_kinds(self) -> None:
        """What a universal checkpoint gives every group as the same group of its writer had it,
        or with stage 3 as the first one had it."""
        for group, kind in zip(self.engine.optimizer.param_groups, self._kinds, strict=True):
            for key in KIND:
                group.pop(key, None)
            group |= kind


def part_steps(optimizer: Any) -> None:
    """Give every parameter a step count of its own.

    With stage 3 they are one tensor after a universal checkpoint, and torch's Adam, which counts
    in place, would count one step several times.
    """
    inner = getattr(optimizer, "optimizer", optimizer)
    for state in inner.state.values():
        if isinstance(state.get("step"), torch.Tensor):
            state["step"] = state["step"].clone()


def mean(losses: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """The mean of each, without its graph."""
    return [loss.detach().float().mean() for loss in losses]
