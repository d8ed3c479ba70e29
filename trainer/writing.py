"""One rank's part of a checkpoint of megatron-core's engine.

megatron-core plans who writes what. Its own writer starts a process for every file and a manager
beside them; here the thread writes, and makes the checksums from the bytes that pass through it.
"""

import io
import json
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from megatron.core.dist_checkpointing.core import CheckpointingConfig
from megatron.core.dist_checkpointing.state_dict_utils import save_preprocess
from megatron.core.dist_checkpointing.strategies import filesystem_async
from megatron.core.dist_checkpointing.strategies.torch import TorchDistSaveShardedStrategy
from torch.distributed.checkpoint.filesystem import FileSystem, SerializationFormat, _write_item

from llmtrain.trainer.checksums import summed
from llmtrain.trainer.parts import Part, host_copy


@dataclass(kw_only=True, slots=True)
class ShardedPart(Part):
    """In the format that megatron-core calls ``torch_dist``: one file a rank, and an index."""

    buckets: list[Any]
    """megatron-core's (path, name, (bytes items, tensor items)), one a file."""
    writer: Any
    """megatron-core's, which knows how to write the index of all files."""
    index: Any
    """Which tensors the checkpoint holds; on the leading rank alone."""
    results: list[Any] = field(default_factory=list, init=False)
    """Where each item was written, for the index."""

    def copy(self) -> None:
        """Of all tensors."""
        self.buckets = [
            (path, name, (raw, [(item, host_copy(tensor)) for item, tensor in items]))
            for path, name, (raw, items) in self.buckets
        ]
        torch.cuda.synchronize()

    def write_files(self) -> None:
        """One a bucket."""
        try:
            for _, name, items in self.buckets:
                self._write_bucket(name, items)
        finally:
            self.buckets = []

    def _write_bucket(self, name: str, items: tuple[list[Any], list[Any]]) -> None:
        format = SerializationFormat.TORCH_SAVE
        with summed(self.folder / name, self.sums) as stream:
            for item, data in [*items[0], *items[1]]:
                raw: Any = stream
                done = _write_item(self.writer.transforms, raw, data, item, name, format)
                self.results.append(done)

    def tell(self) -> list[Any]:
        """Where each item was written."""
        return self.results

    def complete(self, told: list[Any]) -> None:
        """Write ``.metadata`` from the results of all ranks."""
        self.writer.fs = SummedFiles(self.sums)
        self.writer.finish(self.index, told)


class SummedFiles(FileSystem):
    """torch's access to files; a file that is renamed keeps its checksum."""

    def __init__(self, sums: dict[str, str]) -> None:
        """Puts checksums into ``sums``."""
        self._sums = sums

    @contextmanager
    def create_stream(self, path: Any, mode: str) -> Iterator[Any]:
        """Open a file to be written; every other mode is refused."""
        if mode != "wb":
            raise ValueError(f"only written files have checksums, not {mode}")
        with summed(Path(path), self._sums) as stream:
            yield stream

    def rename(self, path: Any, new_path: Any) -> None:
        """Rename a file that was written here."""
        super().rename(path, new_path)
        self._sums[Path(new_path).name] = self._sums.pop(Path(path).name)


class Planner(TorchDistSaveShardedStrategy):
    """megatron-core's plan of a checkpoint, without its writing: one file a rank."""

    def __init__(self) -> None:
        """In the format that megatron-core calls ``torch_dist``, version 1."""
        super().__init__("torch_dist", 1, thread_count=1)
        self._writer: Any = None
        self._index: Any = None
        self._validate = True

    def plan(self, state: dict[str, Any], folder: Path, *, leads: bool) -> ShardedPart:
        """Who writes what; every rank must call this. Nothing is written or copied yet."""
        # That nobody writes what another does is checked once: it does not change.
        sharded, common = save_preprocess(state, self._validate)
        self._validate = False
        # The writer would start a process for this queue, which is not used here.
        filesystem_async._results_queue = queue.Queue()
        self.async_save(sharded, folder)
        return ShardedPart(
            folder=folder,
            small=self._small(common) if leads else {},
            buckets=self._writer.write_buckets,
            writer=self._writer,
            index=self._index,
        )

    def _get_save_and_finalize_callbacks(self, writer: Any, planned: tuple[Any, ...]) -> None:
        self._writer, self._index = writer, planned[1]

    def _small(self, common: dict[str, Any]) -> dict[str, bytes]:
        buffer = io.BytesIO()
        torch.save(common, buffer)
        config = asdict(CheckpointingConfig(self.backend, self.version))
        return {"common.pt": buffer.getvalue(), "metadata.json": json.dumps(config).encode()}
