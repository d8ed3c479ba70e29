"""megatron-core's ``torch_dist``: ``metadata.json``, ``.metadata``, ``common.pt`` and ``.distcp``.

``.metadata`` is torch.distributed.checkpoint's index (torch/distributed/checkpoint/metadata.py):
the shape of every tensor in the whole model, and in which file its parts lie from where to where.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llmtrain.runs.checkpoints.pickles import Damage, Named, read_pickle, read_torch
from llmtrain.runs.checkpoints.stored import Stored, from_arguments

CONFIG, INDEX, COMMON = "metadata.json", ".metadata", "common.pt"
EMBEDDING = "embedding.word_embeddings.weight"
LAYERS = re.compile(r"(?:^|\.)decoder\.layers\.(?:(\d+)\.)?")


def is_torch_dist(folder: Path) -> bool:
    """Whether it was written, or begun, in this format."""
    return any((folder / name).exists() for name in (CONFIG, INDEX)) or bool(
        next(folder.glob("*.distcp"), None)
    )


def read_torch_dist(folder: Path, step: int | None) -> Stored:
    """What a checkpoint says of itself; ``step`` is what its name says."""
    found: dict[str, Any] = {"path": folder, "format": "torch_dist", "step": step}
    try:
        _require_config(folder)
        tensors, places = _index(folder)
        found |= _of_tensors(tensors)
        common = read_torch(folder / COMMON)
        found |= _of_common(common if isinstance(common, Mapping) else {}, found)
        found["files"] = len({name for name, _ in places}) + 3
        _require_files(folder, places)
    except Damage as damage:
        found["damage"] = str(damage)
    return Stored(**found)


def _require_config(folder: Path) -> None:
    """It is written when all the rest is."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Damage(f"{CONFIG}, which is written last, is missing") from None
    except (OSError, ValueError) as error:
        raise Damage(f"{CONFIG} cannot be read: {error}") from error
    if not isinstance(config, dict) or config.get("sharded_backend") != "torch_dist":
        raise Damage(f"{CONFIG} names another format than torch_dist")


def _index(folder: Path) -> tuple[dict[str, Named], list[tuple[str, int]]]:
    """The tensors by name, and (file, end of what lies in it) of every part."""
    index = read_pickle(folder / INDEX)
    if not isinstance(index, Named):
        raise Damage(f"{INDEX} is no index of a checkpoint")
    tensors, storage = index.get("state_dict_metadata"), index.get("storage_data")
    if not isinstance(tensors, dict) or not isinstance(storage, dict) or not storage:
        raise Damage(f"{INDEX} is no index of a checkpoint")
    places = [_place(each) for each in storage.values()]
    return {str(name): each for name, each in tensors.items() if isinstance(each, Named)}, places


def _place(info: Any) -> tuple[str, int]:
    name, offset, length = (info.get(key) for key in ("relative_path", "offset", "length"))
    return str(name), int(offset) + int(length)


def _require_files(folder: Path, places: list[tuple[str, int]]) -> None:
    ends: dict[str, int] = {}
    for name, end in places:
        ends[name] = max(end, ends.get(name, 0))
    for name, end in sorted(ends.items()):
        try:
            size = (folder / name).stat().st_size
        except OSError:
            raise Damage(f"{name} is missing") from None
        if size < end:
            raise Damage(f"{name} is cut: it has {size} bytes of {end}")


def _of_tensors(tensors: Mapping[str, Named]) -> dict[str, Any]:
    """Sizes of the model by its tensors; tp by how the embedding is cut."""
    model = {n: t for n, t in tensors.items() if not n.startswith(("optimizer", "chained"))}
    sizes = {"layers": _layers(model)} if _layers(model) else {}
    found: dict[str, Any] = {"sizes": sizes}
    embedding = model.get(EMBEDDING) or model.get(f"model.{EMBEDDING}")
    if embedding is not None and embedding.get("size"):
        rows, hidden = embedding.get("size")
        sizes |= {"hidden": int(hidden), "vocab": int(rows)}
        found["dtype"] = _dtype(embedding)
        parts = {int(each.get("sizes")[0]) for each in embedding.get("chunks") or ()}
        found["layout"] = {"tp": -(-int(rows) // max(parts))} if parts else {}
    return found


def _dtype(tensor: Named) -> str | None:
    """Of torch's TensorProperties, whose first field is the dtype."""
    state = getattr(tensor.get("properties"), "state", None)
    first = state[0] if isinstance(state, tuple) and state else None
    named: str | None = getattr(first, "named", None)
    return named.rpartition(".")[2] if named else None


def _layers(tensors: Mapping[str, Named]) -> int:
    """Equal layers are one tensor with the layer as its first dimension, others have a number."""
    numbers, stacked = set(), 0
    for name, tensor in tensors.items():
        found = LAYERS.search(name)
        if found and found[1] is not None:
            numbers.add(int(found[1]))
        elif found and tensor.get("size"):
            stacked = max(stacked, int(tensor.get("size")[0]))
    return max(numbers) + 1 if numbers else stacked


def _of_common(common: Mapping[Any, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    layout, sizes, dtype = from_arguments(common.get("args"))
    layout = {**known.get("layout", {}), **layout, **dict(_given(common))}
    found: dict[str, Any] = {"layout": layout, "sizes": known.get("sizes", {}) | sizes}
    if dtype:
        found["dtype"] = dtype
    step = next((common[key] for key in ("iteration", "step") if key in common), None)
    if isinstance(step, int):
        found["step"] = step
    found["optimizer"] = _sharding(common) if layout.get("zero") else None
    return found


def _given(common: Mapping[Any, Any]) -> Iterator[tuple[str, int]]:
    """Layout and ZeRO stage, as the reference trainer writes them."""
    layout = common.get("layout")
    yield from layout.items() if isinstance(layout, dict) else ()
    if isinstance(common.get("zero"), int):
        yield "zero", common["zero"]


def _sharding(common: Mapping[Any, Any]) -> str | None:
    """As Megatron-LM finds it (``checkpointing.py``, ``load_checkpoint``)."""
    content, arguments = common.get("content_metadata"), common.get("args")
    if isinstance(content, dict):
        return content.get("distrib_optim_sharding_type")
    if not isinstance(arguments, Named):
        return "fully_reshardable"
    parallel = arguments.get("ckpt_fully_parallel_save")
    return "fully_sharded_model_space" if parallel else "dp_zero_gather_scatter"
