"""A recipe to break, and a home without recipes of the user's who runs the tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmtrain.config.build import build
from llmtrain.config.recipe import Recipe
from tests.config.composing import Write

Data = dict[str, Any]

SMALL: Data = {
    "name": "small",
    "gpus": 16,
    "model": {"layers": 8, "hidden": 64, "heads": 8, "vocab": 250, "seq": 64},
    "cluster": {
        "name": "two-nodes",
        "gpu": {"name": "some", "arch": "some"},
        "gpus_per_node": 8,
        "nodes": 2,
    },
    "backend": {"name": "megatron-core"},
    "parallel": {"tp": 2, "pp": 4},
    "batch": {"micro": 1, "global": 16},
}
"""A valid recipe: dp 2, 8 micro-batches."""


def merged(base: Data, changes: Data) -> Data:
    """``base`` with the groups of ``changes`` merged in."""
    both = {key: (base[key], changes[key]) for key in base.keys() & changes.keys()}
    groups = {
        key: merged(old, new)
        for key, (old, new) in both.items()
        if isinstance(old, dict) and isinstance(new, dict)
    }
    return base | changes | groups


Small = Callable[..., Recipe]


@pytest.fixture(scope="session")
def small() -> Small:
    """Makes the small recipe with some groups changed."""
    return lambda **changes: build(Recipe, merged(SMALL, changes))


@pytest.fixture(scope="session")
def small_data() -> Data:
    """The small recipe as plain data."""
    return SMALL


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No recipes of the user's who runs the tests, and a current folder of their own."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("LLMTRAIN_RECIPES", raising=False)
    return tmp_path


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file below the test's folder."""

    def file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return file
