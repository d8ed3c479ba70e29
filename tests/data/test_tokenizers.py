"""Tokens are those of the libraries, with an end behind every document."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmtrain.config.errors import UsageError
from llmtrain.data.tokenizers import load
from tests.data.conftest import TEXTS


def encoded(name: str | Path, end: str | None = None) -> list[list[int]]:
    """Every text's tokens."""
    found = load(str(name), end).encode(TEXTS)
    tokens = iter(found.tokens.tolist())
    return [[next(tokens) for _ in range(length)] for length in found.lengths]


def test_bytes_are_utf8_and_a_nul() -> None:
    """Or without any end."""
    assert encoded("bytes") == [[*text.encode(), 0] for text in TEXTS]
    assert encoded("bytes", "none") == [[*text.encode()] for text in TEXTS]


def test_a_tokenizers_file_is_used_whole(bpe: Path) -> None:
    """Decoding gives the text back, though the file asks for texts to be cut to three tokens."""
    from tokenizers import Tokenizer

    library, found = Tokenizer.from_file(str(bpe)), encoded(bpe)
    end = library.token_to_id("<|endoftext|>")

    assert [library.decode(ids[:-1]) for ids in found] == TEXTS
    assert {ids[-1] for ids in found} == {end}
    library.no_truncation()
    assert found == [[*library.encode(text).ids, end] for text in TEXTS]
    assert max(map(len, found)) > 10
    assert load(str(bpe), None).vocab == library.get_vocab_size()
    assert encoded(bpe.parent) == found


def test_a_sentencepiece_model_ends_with_its_own_end(pieces: Path) -> None:
    """Or with the token that is asked for."""
    import sentencepiece

    library = sentencepiece.SentencePieceProcessor(model_file=str(pieces))

    assert encoded(pieces) == [[*library.encode(text), library.eos_id()] for text in TEXTS]
    assert encoded(pieces, "<s>")[0][-1] == library.bos_id()
    assert load(str(pieces), None).vocab == library.get_piece_size()


def test_mistakes_are_answered(tmp_path: Path, bpe: Path) -> None:
    """No file, no kind, no such end, not what the name says."""
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps({"model": 1}))
    (tmp_path / "folder").mkdir()
    cases = {
        (str(tmp_path / "no.json"), None): r"no\.json is not there",
        (str(tmp_path / "folder"), None): r"folder is no \.json or \.model file",
        (str(wrong), None): r"wrong\.json cannot be read: ",
        (str(bpe), "</s>"): r"tokenizer\.json has no token </s>",
        ("bytes", "</s>"): "bytes know only NUL",
    }
    for (name, end), says in cases.items():
        with pytest.raises(UsageError, match=says):
            load(name, end)
