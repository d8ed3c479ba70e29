"""Checkpoints that another layout can read: DeepSpeed's universal ones.

DeepSpeed's files hold what each rank had. ``deepspeed.checkpoint.ds_to_universal`` makes of them
one file for every weight and moment, whole, given that it is told how the weights were cut.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist

from llmtrain.config.errors import RunError
from llmtrain.config.layout import chunk_layers
from llmtrain.config.recipe import Recipe
from llmtrain.trainer.agreement import from_leader
from llmtrain.trainer.groups import Position
from llmtrain.trainer.weights import Cut

UNIVERSAL = ".universal"
"""Ends the name of a checkpoint that was converted."""

VERSION = 0.2
"""Of the description below."""

LAYOUT = "layout.json"
"""Says in a checkpoint which layout wrote it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """What DeepSpeed's files depend on."""

    replicas: int
    """Ranks that share the optimizer's state; 0 without ZeRO."""
    sharded: bool
    """The weights are cut over the replicas too: ZeRO-3."""
    tp: int
    """Tensor parallel ranks."""
    layers: tuple[int, ...]
    """Layers of each stage."""
    ep: int = 1
    """Expert parallel ranks."""

    @classmethod
    def of(cls, recipe: Recipe, position: Position) -> "Layout":
        """Of a run."""
        zero = recipe.optim.zero
        return cls(
            replicas=position.dp_size if zero else 0,
            sharded=zero == 3,
            tp=position.tp_size,
            layers=chunk_layers(recipe) or (),
            ep=position.ep_size,
        )

    @classmethod
    def read(cls, path: Path) -> "Layout":
        """Of a checkpoint.

        Raises:
            RunError: if it is not DeepSpeed's.
        """
        try:
            found = json.loads((path / LAYOUT).read_text(encoding="utf-8"))
        except FileNotFoundError:
            says = f"{path.name} was not written by DeepSpeed"
            hint = "`llmtrain resume` goes on with the backend of the run"
            raise RunError(says, hint=hint) from None
        return cls(**found | {"layers": tuple(found["layers"])})

    def text(self) -> bytes:
        """The file's content."""
        return (json.dumps(asdict(self)) + "\n").encode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Sharding:
    """How this run cuts weights and optimizer."""

    layout: Layout
    """What its files depend on."""
    info: dict[str, Any]
    """DeepSpeed's ``universal_checkpoint_info``."""

    @classmethod
    def of(cls, cuts: Mapping[str, Cut], recipe: Recipe, position: Position) -> "Sharding":
        """From the cuts of this rank's parameters; all ranks must call this."""
        every: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(every, dict(cuts))
        merged = {name: cut for each in every for name, cut in each.items()}
        info = described(merged, recipe.model.vocab)
        return cls(layout=Layout.of(recipe, position), info=info)


def described(cuts: Mapping[str, Cut], vocab: int) -> dict[str, Any]:
    """``universal_checkpoint_info``: names of parameters by how their parts become the whole.

    Its converter fails where a pattern meets no parameter, so these are names, not patterns.
    """

    def named(kind: Any) -> list[str]:
        return [f"{re.escape(name)}$" for name, cut in cuts.items() if kind(name, cut)]

    return {
        "universal_checkpoint_version": VERSION,
        "original_vocab_size": vocab,
        "vocabulary_parameter_patterns": named(lambda name, cut: cut.vocabulary),
        "tp_replicated_parameter_patterns": named(lambda name, cut: cut.dim is None),
        "parameter_with_row_parallelism_patterns": named(lambda name, cut: cut.dim == 1),
        "parameter_with_2_sub_params_cat_dim_0": named(
            lambda name, cut: cut.dim == 0 and cut.blocks == 2
        ),
        "pipeline_replicated_parameter_patterns": named(
            lambda name, cut: name.startswith("tied_modules.")
        ),
    }


@contextmanager
def converted(path: Path, sharding: Sharding) -> Iterator[tuple[Path, bool]]:
    """A checkpoint that this run can load, and whether it is a universal one. All ranks.

    Raises:
        RunError: if it must be converted and cannot.
    """
    written = Layout.read(path)
    if written == sharding.layout:
        yield path, False
        return
    universal = path.with_name(path.name + UNIVERSAL)
    error = from_leader(lambda: convert(path, universal, written, sharding.layout))
    if error:
        raise RunError(error)
    yield universal, True
    dist.barrier()
    from_leader(lambda: forget(universal))


def forget(universal: Path) -> None:
    """Remove what was only made to be read."""
    shutil.rmtree(universal, ignore_errors=True)
    universal.with_name("latest_universal").unlink(missing_ok=True)


def convert(path: Path, universal: Path, written: Layout, wanted: Layout) -> str | None:
    """Make the universal checkpoint; why it could not be made."""
    if bool(written.replicas) != bool(wanted.replicas):
        return f"{path.name} was written {zero(written)}, and this run is {zero(wanted)}"
    if not written.replicas:
        return f"{path.name} was written without ZeRO, which tp and pp cannot leave"
    if written.sharded != wanted.sharded:
        return f"{path.name} was written {zero(written)}, and this run is {zero(wanted)}"
    if wanted.sharded and max(written.tp, wanted.tp) > 1:
        return f"{path.name}: DeepSpeed reads ZeRO-3 with tensor parallel in its own layout only"
    if wanted.sharded and max(written.ep, wanted.ep) > 1:
        return f"{path.name}: DeepSpeed reads ZeRO-3 with expert parallel in its own layout only"
    shutil.rmtree(universal, ignore_errors=True)
    words = ["--input_folder", str(path), "--output_folder", str(universal)]
    done = subprocess.run(
        [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        return f"{path.name} cannot be made a universal checkpoint: {''.join(last)}"
    return None


def zero(layout: Layout) -> str:
    """In words."""
    if layout.sharded:
        return "with ZeRO-3"
    return "with ZeRO-1 or 2" if layout.replicas else "without ZeRO"
