"""What is to be prepared, and what has come of it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmtrain.data.shards import SHARD_BYTES

FORMAT = 1
"""Of the work folder: what another version of this program has left there is not gone on with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What `llmtrain data prepare` is asked."""

    files: tuple[str, ...]
    """Input, in the order of the result."""
    prefix: Path
    """The result is PREFIX.bin and PREFIX.idx."""
    tokenizer: str = "bytes"
    """``bytes``, or the path of a tokenizer."""
    end: str | None = None
    """Name of the token that ends a document; null: the tokenizer's own; ``none``: none."""
    key: str = "text"
    """Key of JSON lines and column of parquet files that holds the text."""
    lines: bool = False
    """Every line of a .txt is a document, not the file."""
    workers: int = 1
    """Processes."""
    strict: bool = False
    """A broken line is an error."""
    overwrite: bool = False
    """Replace what is there."""
    shard_bytes: int = SHARD_BYTES
    """About what one piece of work reads."""

    @property
    def work(self) -> Path:
        """The folder of what is not finished, beside the result."""
        return Path(f"{self.prefix}.partial")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """Counts of a shard, or of all."""

    documents: int = 0
    """Written."""
    tokens: int = 0
    """Written, ends included."""
    lines: int = 0
    """Lines, rows, or whole files: what could have held a document."""
    empty: int = 0
    """Of these, without text; they are left out."""
    broken: int = 0
    """Of these, without a text that can be read."""
    size: int = 0
    """Bytes of input on disk."""

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(**{name: value + getattr(other, name) for name, value in self.items()})

    def items(self) -> list[tuple[str, int]]:
        """Every count by its name."""
        return list(asdict(self).items())

    @classmethod
    def read(cls, file: Path) -> "Tally | None":
        """What a finished shard has left in ``file``; None if it is not there."""
        try:
            return cls(**json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokenLine:
    """A line that holds no document."""

    file: str
    """As it was named."""
    line: int
    """Line or row, from 1."""
    says: str
    """What is wrong with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What has come of a request."""

    prefix: Path
    """PREFIX.bin and PREFIX.idx are there."""
    tally: Tally
    """What was counted, and is in the files."""
    shards: int
    """Pieces of work."""
    kept: int
    """Of these, done by an earlier call."""
    seconds: float
    """Wall clock of this call."""
    dtype: str
    """Type of a token on disk."""
    vocab: int
    """Numbers are below this: the least ``model.vocab``."""
    end: int | None
    """The token that ends each document."""
    broken: tuple[BrokenLine, ...]
    """The first of the broken lines."""

    def as_json(self) -> Mapping[str, Any]:
        """One flat object."""
        about = {
            "prefix": str(self.prefix),
            **asdict(self.tally),
            "shards": self.shards,
            "kept": self.kept,
            "seconds": round(self.seconds, 3),
            "dtype": self.dtype,
            "vocab": self.vocab,
            "end": self.end,
        }
        return about | {"broken_lines": [asdict(each) for each in self.broken]}
