"""Megatron's .bin/.idx pair: tokens one after the other, and an index of where documents begin.

Source: megatron-core 0.16, ``datasets/indexed_dataset.py`` (``_IndexWriter``); a test holds what is
written here against the bytes of its builder.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmtrain.config.errors import LaunchError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MAGIC = b"MMIDIDX\0\0"

HEADER = struct.Struct("<9sQBQQ")
"""Magic, version, code of the tokens' type, sequences, documents + 1."""

CODES = {"uint8": 1, "int8": 2, "int16": 3, "int32": 4, "int64": 5, "uint16": 8}
"""Types of whole numbers that the format knows."""

BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 8: 2}
"""Of a token, by code."""

LONGEST = 2**31 - 1
"""Tokens of a document: the index holds lengths in 32 bits."""


def token_type(vocab: int) -> str:
    """The smallest type that Megatron's programs read: bytes, else its own choice by size."""
    if vocab <= 256:
        return "uint8"
    return "uint16" if vocab < 65500 else "int32"


def index_file(prefix: str | Path) -> Path:
    """The .idx of ``prefix``."""
    return Path(f"{prefix}.idx")


def token_file(prefix: str | Path) -> Path:
    """The .bin of ``prefix``."""
    return Path(f"{prefix}.bin")


@dataclass(frozen=True, kw_only=True, slots=True)
class Index:
    """What an .idx says, read as far as it is asked."""

    path: Path
    """The .idx file."""
    token_bytes: int
    """Bytes of a token."""
    sequences: int
    """Entries; what a split divides. One a document, unless documents were cut."""
    documents: int
    """Documents."""

    def tokens(self, first: int = 0, last: int | None = None) -> int:
        """Tokens of the sequences from ``first`` up to and without ``last``; null: to the end."""
        end = self.sequences if last is None else last
        if first >= end:
            return 0
        with self.path.open("rb") as file:
            begins, ends = self._pointer(file, first), self._pointer(file, end - 1)
            return (ends - begins) // self.token_bytes + self._length(file, end - 1)

    def _pointer(self, file: Any, sequence: int) -> int:
        return self._number(file, "<q", HEADER.size + 4 * self.sequences + 8 * sequence)

    def _length(self, file: Any, sequence: int) -> int:
        return self._number(file, "<i", HEADER.size + 4 * sequence)

    def _number(self, file: Any, form: str, place: int) -> int:
        file.seek(place)
        found: int = struct.unpack(form, file.read(struct.calcsize(form)))[0]
        return found


def read_index(prefix: str | Path) -> Index | None:
    """The index of ``prefix``; None where there is no such file.

    Raises:
        LaunchError: if the file is not a whole index.
    """
    path = index_file(prefix)
    if not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(HEADER.size)
    if len(head) < HEADER.size or not head.startswith(MAGIC):
        raise LaunchError(f"{path} is not an index of Megatron's")
    _, version, code, sequences, ends = HEADER.unpack(head)
    if version != 1 or code not in BYTES:
        raise LaunchError(f"{path} has version {version} and type {code}, which nobody reads")
    if path.stat().st_size < HEADER.size + 12 * sequences + 8 * ends:
        raise LaunchError(f"{path} is cut short")
    return Index(path=path, token_bytes=BYTES[code], sequences=sequences, documents=ends - 1)


def write_index(path: Path, kind: str, lengths: "npt.NDArray[np.int32]") -> None:
    """Write an index of one sequence a document, of ``lengths`` tokens of type ``kind`` each."""
    import numpy as np

    pointers = np.zeros(len(lengths), np.int64)
    np.cumsum(lengths[:-1], dtype=np.int64, out=pointers[1:])
    pointers *= BYTES[CODES[kind]]
    with path.open("wb") as file:
        file.write(HEADER.pack(MAGIC, 1, CODES[kind], len(lengths), len(lengths) + 1))
        file.write(np.ascontiguousarray(lengths, "<i4").data)
        file.write(np.ascontiguousarray(pointers, "<i8").data)
        file.write(np.arange(len(lengths) + 1, dtype="<i8").data)
