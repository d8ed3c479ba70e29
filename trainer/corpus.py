"""Real text that every machine has: the sources of the Python standard library, as bytes.

They are prepared on first use into Megatron's .bin/.idx, one document a file, each ended by
:data:`END`, and kept in a cache.
"""

import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import platformdirs
import torch
from filelock import FileLock
from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder

END = 0
"""Ends a document: no source file holds a NUL byte."""

SKIPPED = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"})
"""Folders that are not part of the library proper."""


def prepare(cache: Path, sources: Path | None = None) -> Path:
    """The prefix of the prepared .bin/.idx in ``cache``, made now if it is not there.

    Safe for any number of processes at once: one of them works, the others wait. Both files are
    written under other names and renamed, the index last, so a killed preparation leaves nothing
    that would be used.
    """
    files = list(library(sources or Path(sysconfig.get_path("stdlib"))))
    prefix = cache / f"stdlib-{sys.version_info.major}.{sys.version_info.minor}-{content(files)}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{prefix}.lock"):
        if not index(prefix).exists():
            _write(prefix, files)
    return prefix


def folder(given: str | None) -> Path:
    """Where prepared data is kept: ``given``, else the user's cache folder."""
    return Path(given) if given else Path(platformdirs.user_cache_dir("llmtrain"))


def index(prefix: Path) -> Path:
    """The .idx file; where it exists the .bin file is complete."""
    return prefix.with_name(f"{prefix.name}.idx")


def library(root: Path) -> Iterator[Path]:
    """The source files below ``root``, sorted, without tests and installed packages."""
    for path in sorted(root.rglob("*.py")):
        if not SKIPPED.intersection(path.relative_to(root).parts):
            yield path


def content(files: list[Path]) -> str:
    """Sixteen hexadecimal digits that stand for the bytes of all files, in order."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _write(prefix: Path, files: list[Path]) -> None:
    partial = prefix.with_name(f"{prefix.name}.partial")
    builder = IndexedDatasetBuilder(f"{partial}.bin", dtype=np.uint8)
    for path in files:
        tokens = np.frombuffer(path.read_bytes() + bytes([END]), dtype=np.uint8)
        builder.add_item(torch.from_numpy(tokens.copy()))
        builder.end_document()
    builder.finalize(f"{partial}.idx")
    for suffix in (".bin", ".idx"):
        os.replace(f"{partial}{suffix}", f"{prefix}{suffix}")
