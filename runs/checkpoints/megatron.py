"""Megatron-LM's ``torch`` format: ``mp_rank_TT[_PPP][_EEE]/model_optim_rng.pt``, one a rank.

Names: ``megatron/training/checkpointing.py``, ``get_checkpoint_name``. With the distributed
optimizer ``distrib_optim.pt`` beside it holds the whole optimizer state of that rank's weights.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llmtrain.runs.checkpoints.pickles import Damage, Named, read_torch, require_whole
from llmtrain.runs.checkpoints.stored import Stored, from_arguments

RANK = re.compile(r"mp_rank_(\d\d)(?:_(\d{3}))?(?:_(\d{3}))?")
STATE, OPTIMIZER = "model_optim_rng.pt", "distrib_optim.pt"


def is_megatron(folder: Path) -> bool:
    """Whether it is in this format."""
    return any(each.is_dir() and RANK.fullmatch(each.name) for each in folder.iterdir())


def read_megatron(folder: Path, step: int | None) -> Stored:
    """What a checkpoint says of itself; ``step`` is what its name says."""
    found: dict[str, Any] = {"path": folder, "format": "megatron", "step": step}
    try:
        ranks = sorted(each.name for each in folder.iterdir() if RANK.fullmatch(each.name))
        state = read_torch(folder / ranks[0] / STATE)
        if not isinstance(state, Mapping):
            raise Damage(f"{ranks[0]}/{STATE} holds no state")
        found |= _of_state(state, step)
        expected = list(_expected(found["layout"], ranks))
        distributed = _is_distributed(state)
        found["files"] = len(expected) * (1 + distributed)
        for name in expected:
            require_whole(folder, f"{name}/{STATE}")
            if distributed:
                require_whole(folder, f"{name}/{OPTIMIZER}")
    except Damage as damage:
        found["damage"] = str(damage)
    return Stored(**found)


def _of_state(state: Mapping[Any, Any], step: int | None) -> dict[str, Any]:
    layout, sizes, dtype = from_arguments(state.get("args"))
    layout["vpp"] = max(1, sum(bool(re.fullmatch(r"model\d+", str(key))) for key in state))
    number = state.get("iteration")
    return {
        "layout": layout,
        "sizes": sizes,
        "dtype": dtype,
        "step": number if isinstance(number, int) else step,
    }


def _is_distributed(state: Mapping[Any, Any]) -> bool:
    arguments = state.get("args")
    if not isinstance(arguments, Named):
        return False
    return bool(arguments.get("use_distributed_optimizer")) and not arguments.get("no_save_optim")


def _expected(layout: Mapping[str, int], ranks: list[str]) -> Iterator[str]:
    """A folder for each tensor, pipeline and expert parallel rank; by what is there if unsaid."""
    if "tp" not in layout:
        yield from ranks
        return
    pp, ep = layout.get("pp", 1), layout.get("ep", 1)
    for tensor in range(layout["tp"]):
        for stage in range(pp):
            for expert in range(ep):
                name = f"mp_rank_{tensor:02d}"
                name += f"_{stage:03d}" if pp > 1 else ""
                yield name + (f"_{expert:03d}" if ep > 1 else "")
