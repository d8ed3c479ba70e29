"""DeepSpeed's checkpoints: a tag's folder with the files of every rank, or a universal one.

Names: deepspeed 0.19.8, ``runtime/engine.py`` (``_get_ckpt_name``, ``_get_rank_zero_ckpt_name``),
``runtime/pipe/module.py`` (``ckpt_layer_path``) and ``checkpoint/ds_to_universal.py``.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llmtrain.runs.checkpoints.pickles import Damage, read_torch, require_whole
from llmtrain.runs.checkpoints.stored import Stored, from_arguments
from llmtrain.runs.checkpoints.tensors import DTYPES, Tensor

MODEL = re.compile(r"(?:zero_pp_rank_(?P<dp>\d+)_)?mp_rank_(?P<mp>\d+)_model_states\.pt")
OPTIMIZER = re.compile(r"(?:bf16_|fp16_)?zero_pp_rank_(\d+)_mp_rank_(\d+)_?optim_states\.pt")
LAYER = re.compile(r"layer_(\d+)-(?:model_(\d+)-)?model_states\.pt")
LAYOUT = "layout.json"
"""By which the reference trainer says what DeepSpeed's files do not: expert parallel ranks."""
PARTS = ("fp32.pt", "exp_avg.pt", "exp_avg_sq.pt")
"""What a universal checkpoint has of each parameter."""


def is_deepspeed(folder: Path) -> bool:
    """Whether it is in one of the two formats."""
    return any(MODEL.fullmatch(each.name) or OPTIMIZER.fullmatch(each.name) for each in _in(folder))


def read_deepspeed(folder: Path, step: int | None) -> Stored:
    """What a checkpoint says of itself; ``step`` is what its name says."""
    universal = (folder / "zero").is_dir()
    found: dict[str, Any] = {
        "path": folder,
        "format": "universal" if universal else "deepspeed",
        "step": step,
    }
    try:
        names = sorted(each.name for each in _in(folder))
        state = _first_state(folder, names)
        found |= _of_state(state, names, step)
        found["layout"] |= _expert_ranks(folder)
        expected = sorted(_universal_files(folder, state) if universal else _files(found, names))
        found["files"] = len(expected)
        for name in expected:
            require_whole(folder, name)
    except Damage as damage:
        found["damage"] = str(damage)
    return Stored(**found)


def _in(folder: Path) -> Iterator[Path]:
    return (each for each in folder.iterdir() if each.suffix == ".pt")


def _first_state(folder: Path, names: list[str]) -> Mapping[Any, Any]:
    first = next((name for name in names if MODEL.fullmatch(name)), None)
    if first is None:
        raise Damage("no mp_rank_*_model_states.pt is there")
    state = read_torch(folder / first)
    if not isinstance(state, Mapping):
        raise Damage(f"{first} holds no state")
    return state


def _expert_ranks(folder: Path) -> dict[str, int]:
    try:
        said = json.loads((folder / LAYOUT).read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Damage(f"{LAYOUT} cannot be read: {error}") from None
    return {"ep": int(said["ep"])} if isinstance(said, dict) and "ep" in said else {}


def _of_state(state: Mapping[Any, Any], names: list[str], step: int | None) -> dict[str, Any]:
    layout, sizes, dtype = from_arguments(state.get("args"))
    layout |= {"dp": int(state["dp_world_size"])} if "dp_world_size" in state else {}
    layout |= dict(_degrees(state, layout))
    layout["zero"] = _zero(state, names)
    number = state.get("iteration", state.get("global_steps"))
    tensors = _tensors(state.get("module"))
    return {
        "layout": layout,
        "sizes": sizes,
        "dtype": dtype or next(_dtypes(tensors), None),
        "step": number if isinstance(number, int) else step,
    }


def _degrees(state: Mapping[Any, Any], known: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    said = state.get("checkpoint_parallel_dimensions")
    for ours, theirs in (("tp", "tp_degree"), ("pp", "pp_degree")):
        if isinstance(said, Mapping) and isinstance(said.get(theirs), int):
            yield ours, said[theirs]
        elif ours not in known and state.get("mp_world_size") == 1:
            yield ours, 1
    if isinstance(state.get("mp_world_size"), int):
        yield "mp", state["mp_world_size"]


def _zero(state: Mapping[Any, Any], names: list[str]) -> int:
    """By DeepSpeed's own configuration, else by the names of the files."""
    config = state.get("ds_config")
    engine = config.get("zero_optimization") if isinstance(config, Mapping) else None
    if isinstance(engine, Mapping) and isinstance(engine.get("stage"), int):
        return int(engine["stage"])
    if any(name.startswith("zero_pp_rank_") and MODEL.fullmatch(name) for name in names):
        return 3
    return int(any(OPTIMIZER.fullmatch(name) for name in names))


def _files(found: Mapping[str, Any], names: list[str]) -> Iterator[str]:
    """Every file that the ranks of this layout write."""
    layout = found["layout"]
    listed = [each for each in map(MODEL.fullmatch, names) if each]
    mp = layout.get("mp") or 1 + max(int(each["mp"]) for each in listed)
    dp, zero = layout.get("dp", 1), layout["zero"]
    prefix = "bf16_" if any(name.startswith("bf16_zero") for name in names) else ""
    sharded = zero > 0 or bool(prefix)
    for rank in range(mp):
        if zero < 3:
            yield f"mp_rank_{rank:02d}_model_states.pt"
        for replica in range(dp):
            if zero == 3:
                yield f"zero_pp_rank_{replica}_mp_rank_{rank:02d}_model_states.pt"
            if sharded:
                yield f"{prefix}zero_pp_rank_{replica}_mp_rank_{rank:02d}_optim_states.pt"
    yield from _layer_files(found, names)


def _layer_files(found: Mapping[str, Any], names: list[str]) -> Iterator[str]:
    """Of a pipeline: a file a layer and tensor parallel rank."""
    listed = [each for each in map(LAYER.fullmatch, names) if each]
    numbers = {each[1] for each in listed}
    fewest = found["sizes"].get("layers", 0)
    if listed and len(numbers) < fewest:
        raise Damage(f"it has files of {len(numbers)} layers, the model has {fewest}")
    ranked = any(each[2] for each in listed)
    for number in numbers:
        for rank in range(found["layout"].get("tp", 1)):
            yield f"layer_{number}-{f'model_{rank:02d}-' if ranked else ''}model_states.pt"


def _universal_files(folder: Path, state: Mapping[Any, Any]) -> Iterator[str]:
    """Three files a parameter; which there are, the model's state says."""
    shapes = state.get("param_shapes")
    groups = shapes if isinstance(shapes, list) else [shapes]
    named = {str(name) for group in groups if isinstance(group, Mapping) for name in group}
    there = {each.name for each in (folder / "zero").iterdir() if each.is_dir()}
    for name in sorted(named | there):
        yield from (f"zero/{name}/{part}" for part in PARTS)


def _tensors(module: Any) -> Iterator[Tensor]:
    """Every tensor of a state, however deep."""
    if isinstance(module, Tensor):
        yield module
    elif isinstance(module, Mapping):
        for each in module.values():
            yield from _tensors(each)


def _dtypes(tensors: Iterator[Tensor]) -> Iterator[str]:
    for tensor in tensors:
        if tensor.storage.kind in DTYPES:
            yield DTYPES[tensor.storage.kind][0]
