"""Whole scripts and environments, compared with files.

When a change is meant, ``REGENERATE=1 pytest tests/launchers/test_golden.py``
writes the files anew, and ``git diff tests/golden`` shows what it does to them.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from llmtrain.launchers.launch import Launch

GOLDEN = Path(__file__).parents[1] / "golden"
RECIPES = {
    "gpt-tiny": ("recipe=gpt-tiny",),
    "gpt3-530b": ("recipe=gpt3-530b", "backend.path=/opt/megatron-lm"),
}


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(("file", "suffix"), [("job.sh", ".sh"), ("env.json", ".env.json")])
def test_golden(launch_of: Callable[..., Launch], recipe: str, file: str, suffix: str) -> None:
    """What is rendered is the file, to the byte."""
    golden = GOLDEN / f"{recipe}{suffix}"
    rendered = launch_of(*RECIPES[recipe]).files[file]
    if os.environ.get("REGENERATE"):
        golden.write_text(rendered, encoding="utf-8")

    assert rendered == golden.read_text(encoding="utf-8")
