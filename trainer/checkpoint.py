"""Checkpoints: complete or not there.

``checkpoints/step-NNNNNNNN`` is written by megatron-core's ``dist_checkpointing`` under the same
name with ``.partial`` behind it, and renamed by rank 0 when every rank has written its part. So a
folder without ``.partial`` is complete. Tensors are stored by their place in the whole model, which
another layout can read too. The state of the random numbers is not stored: it follows from seed,
step and rank.
"""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist
from megatron.core import dist_checkpointing
from megatron.core.models.gpt import GPTModel
from megatron.core.optimizer.optimizer import MegatronOptimizer

from llmtrain.trainer.control import shielded

PARTIAL = ".partial"
"""Ends the name of a checkpoint that is being written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoints:
    """The checkpoints of one run."""

    folder: Path
    """``checkpoints/`` of the run, or where the site keeps them."""
    keep: int
    """Newest that are kept."""
    chunks: list[GPTModel]
    """This rank's part of the model, not wrapped."""
    optimizer: MegatronOptimizer
    """Over all chunks."""

    def save(self, step: int) -> Path:
        """Write the state after ``step`` steps; every rank must call this."""
        target = self.folder / f"step-{step:08d}"
        partial = target.with_name(target.name + PARTIAL)
        if target.exists():
            return target
        if dist.get_rank() == 0:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        dist.barrier()
        with shielded():
            dist_checkpointing.save({**self._state(loading=False), "step": step}, str(partial))
        dist.barrier()
        if dist.get_rank() == 0:
            os.replace(partial, target)
            self._prune()
        dist.barrier()
        return target

    def load(self) -> int:
        """Restore the newest complete checkpoint; how many steps it has behind it, 0 for none."""
        found = complete(self.folder)
        if not found:
            return 0
        state = dist_checkpointing.load(self._state(loading=True), str(found[-1]))
        for number, chunk in enumerate(self.chunks):
            chunk.load_state_dict(state[f"model{number}"])
        self.optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])

    def _state(self, *, loading: bool) -> dict[str, Any]:
        metadata = {
            "distrib_optim_sharding_type": "fully_reshardable",
            "distrib_optim_fully_reshardable_mem_efficient": False,
            "chained_optim_avoid_prefix": True,
        }
        model = {
            f"model{number}": chunk.sharded_state_dict(metadata=metadata)
            for number, chunk in enumerate(self.chunks)
        }
        optimizer = self.optimizer.sharded_state_dict(model, is_loading=loading, metadata=metadata)
        return {**model, "optimizer": optimizer}

    def _prune(self) -> None:
        for old in complete(self.folder)[: -self.keep]:
            # Renamed first: a removal that is cut short must not leave half a checkpoint.
            doomed = old.with_name(old.name + PARTIAL)
            os.replace(old, doomed)
            shutil.rmtree(doomed)


def complete(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if re.fullmatch(r"step-\d{8}", path.name))
