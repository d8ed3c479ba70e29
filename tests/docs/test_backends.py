"""The page of recipes and backends."""

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def test_the_matrix_is_what_the_backends_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """docs/backends.md was written from today's recipes and limits (else: make golden)."""
    monkeypatch.delenv("LLMTRAIN_RECIPES", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    written = runpy.run_path(str(DOCS / "backends.py"))["document"]()

    assert (DOCS / "backends.md").read_text(encoding="utf-8") == written
