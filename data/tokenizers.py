"""Text to token numbers: bytes, a `tokenizers` JSON file, or a SentencePiece model."""

import hashlib
import os
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from llmtrain.config.errors import Problem, UsageError
from llmtrain.data.extras import extra
from llmtrain.data.indexed import token_type

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

NONE = "none"
"""As the name of the end: documents are not ended by a token."""

ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<|eos|>", "<eos>", "<eod>", "[EOS]")
"""Names under which tokenizers keep the token that ends a document, tried in this order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoded:
    """The documents of one batch."""

    tokens: "npt.NDArray[np.generic]"
    """One document after the other, ends included."""
    lengths: list[int]
    """Tokens of each."""
    empty: int
    """Texts that gave no token; they are left out."""


class Tokenizer(Protocol):
    """What preparing asks."""

    vocab: int
    """Numbers are below this."""
    end: int | None
    """Ends every document."""
    refuses: str
    """What no text may hold, because it could not be told from the end; empty: nothing."""

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Tokens of non-empty ``texts``."""
        ...


class Bytes:
    """A token is a byte of UTF-8; NUL ends a document."""

    vocab = 256

    def __init__(self, end: str | None) -> None:
        """``end``: ``none`` for no end."""
        if end not in (None, NONE):
            raise UsageError(f"--end {end}: bytes know only NUL as an end, or `--end none`")
        self.end = None if end == NONE else 0
        self.refuses = "" if self.end is None else "\0"

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Bytes of ``texts``."""
        import numpy as np

        raw = [text.encode() for text in texts]
        mark = b"" if self.end is None else b"\0"
        joined = mark.join(raw) + mark if raw else b""
        lengths = [len(each) + len(mark) for each in raw]
        return Encoded(tokens=np.frombuffer(joined, np.uint8), lengths=lengths, empty=0)


class HuggingFace:
    """A file of the `tokenizers` library; its special tokens are not added."""

    refuses = ""

    def __init__(self, file: Path, end: str | None) -> None:
        """Read ``file``; ``end`` names the token that ends a document."""
        # Preparing is parallel over processes; threads in each would only fight.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        library = extra("tokenizers", f"the tokenizer {file}")
        self._inner = _opened(file, library.Tokenizer.from_file)
        # A file may say that texts are cut to a length: then documents would lose their ends.
        self._inner.no_truncation()
        self._inner.no_padding()
        numbers: dict[str, int] = self._inner.get_vocab(with_added_tokens=True)
        self.vocab = max(numbers.values()) + 1
        self.end = _end(file, end, numbers)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Tokens of ``texts``."""
        found = self._inner.encode_batch_fast(list(texts), add_special_tokens=False)
        return _joined((each.ids for each in found), self.end, self.vocab)


class SentencePiece:
    """A SentencePiece model."""

    refuses = ""

    def __init__(self, file: Path, end: str | None) -> None:
        """Read ``file``; ``end`` names the token that ends a document, its own unless given."""
        library = extra("sentencepiece", f"the tokenizer {file}")
        self._inner = _opened(file, lambda name: library.SentencePieceProcessor(model_file=name))
        self.vocab = int(self._inner.get_piece_size())
        own = int(self._inner.eos_id())
        if end is None and own >= 0:
            self.end: int | None = own
        else:
            pieces = {self._inner.id_to_piece(n): n for n in range(self.vocab)}
            self.end = _end(file, end, pieces)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Tokens of ``texts``."""
        found = self._inner.encode(list(texts), out_type=int, num_threads=1)
        return _joined(found, self.end, self.vocab)


def load(name: str, end: str | None) -> Tokenizer:
    """The tokenizer ``name``: ``bytes``, a file, or a folder that holds one.

    Raises:
        UsageError: if there is none, or none of a kind that is known, or it has no such end.
        LaunchError: if the library that reads it is not installed.
    """
    if name == "bytes":
        return Bytes(end)
    file = tokenizer_file(name)
    return SentencePiece(file, end) if file.suffix == ".model" else HuggingFace(file, end)


def tokenizer_file(name: str) -> Path:
    """The file that ``name`` means.

    Raises:
        UsageError: if there is no such file, or its kind is not known.
    """
    path = Path(name)
    if path.is_dir():
        inside = (path / "tokenizer.json", path / "tokenizer.model")
        path = next((file for file in inside if file.is_file()), path)
    if path.is_file() and path.suffix in (".json", ".model"):
        return path
    why = "is no .json or .model file" if path.exists() else "is not there"
    hint = "valid: `bytes`, a `tokenizers` .json file, a SentencePiece .model file, or their folder"
    raise UsageError(Problem(code="tokenizer", says=f"the tokenizer {name} {why}", hint=hint))


def identity(name: str) -> str:
    """What stands for a tokenizer: ``bytes``, or the checksum of its file."""
    if name == "bytes":
        return name
    return f"sha256:{hashlib.sha256(tokenizer_file(name).read_bytes()).hexdigest()}"


def _opened(file: Path, opener: Any) -> Any:
    try:
        return opener(str(file))
    # The libraries raise bare exceptions of their own.
    except Exception as error:
        raise UsageError(f"the tokenizer {file} cannot be read: {error}") from error


def _end(file: Path, name: str | None, numbers: dict[str, int]) -> int | None:
    if name == NONE:
        return None
    found = next((end for end in ((name,) if name else ENDS) if end in numbers), None)
    if found is not None:
        return numbers[found]
    tried = name or " or ".join(ENDS)
    hint = "name the token that ends a document with `--end TOKEN`, or take `--end none`"
    raise UsageError(Problem(code="end", says=f"{file} has no token {tried}", hint=hint))


CODES = {"uint8": "B", "uint16": "H", "int32": "i"}
"""Of ``array``, which takes numbers from a list twice as fast as numpy."""


def _joined(found: Iterable[list[int]], end: int | None, vocab: int) -> Encoded:
    import numpy as np

    kind = token_type(vocab)
    flat = array(CODES[kind])
    lengths, empty, mark = [], 0, [] if end is None else [end]
    for numbers in found:
        if not numbers:
            empty += 1
            continue
        flat.fromlist(numbers)
        flat.fromlist(mark)
        lengths.append(len(numbers) + len(mark))
    return Encoded(tokens=np.frombuffer(flat, kind), lengths=lengths, empty=empty)
