"""DeepSpeed's checkpoint files, written as every other: in the background, with checksums."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from deepspeed.runtime.checkpoint_engine.checkpoint_engine import CheckpointEngine

from llmtrain.trainer.checksums import summed
from llmtrain.trainer.parts import Part, host_copy


class Recorder(CheckpointEngine):
    """What DeepSpeed saves with: keeps what it is given to write, and leaves reading to another."""

    def __init__(self, reader: CheckpointEngine) -> None:
        """``reader`` is DeepSpeed's own."""
        self._reader, self._files = reader, dict[str, Any]()
        self.name = "Recorder"

    def record(self, save: Callable[[], Any]) -> dict[str, Any]:
        """Let DeepSpeed save; what this rank has to write, by the file's name."""
        self._files = {}
        save()
        return self._files

    def create(self, info: Any) -> None:
        """Nothing is begun."""

    def save(self, state_dict: Any, path: str) -> None:
        """Keep it, without the empty entries of megatron-core's layers.

        They stand for the state of Transformer Engine, and ``ds_to_universal`` takes them for
        weights.
        """
        held = dict(state_dict)
        if isinstance(held.get("module"), dict):
            weights = held["module"].items()
            held["module"] = {name: tensor for name, tensor in weights if tensor is not None}
        self._files[Path(path).name] = held

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """The folder is there."""

    def load(self, path: str, map_location: Any = None) -> Any:
        """As DeepSpeed's own."""
        return self._reader.load(path, map_location=map_location)

    def commit(self, info: Any) -> bool:
        """Others see to it."""
        return True


@dataclass(kw_only=True, slots=True)
class FilesPart(Part):
    """One rank's files of a DeepSpeed checkpoint."""

    files: dict[str, Any]
    """What each holds, by name."""

    def copy(self) -> None:
        """Of all tensors, wherever they are."""
        self.files = {name: copied(held) for name, held in self.files.items()}
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    def write_files(self) -> None:
        """As DeepSpeed does, by ``torch.save``."""
        try:
            for name, held in self.files.items():
                with summed(self.folder / name, self.sums) as stream:
                    raw: Any = stream
                    torch.save(held, raw)
        finally:
            self.files = {}

    def tell(self) -> None:
        """Nothing: there is no index."""

    def complete(self, told: list[Any]) -> None:
        """Nothing: there is no index."""


def copied(held: Any) -> Any:
    """The same with tensors of its own in host memory, which hold nothing but what is seen."""
    if isinstance(held, torch.Tensor):
        return host_copy(held.detach())
    if isinstance(held, dict):
        # As the kind it is: the order of an OrderedDict has a meaning to DeepSpeed.
        return type(held)((key, copied(value)) for key, value in held.items())
    if isinstance(held, (list, tuple)) and type(held) in (list, tuple):
        return type(held)(copied(value) for value in held)
    return held
