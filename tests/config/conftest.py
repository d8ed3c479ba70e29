"""A recipe to break, and the shipped ones to change."""

from collections.abc import Callable
from typing import Any

import pytest

from llmtrain.config.build import build
from llmtrain.config.recipe import Recipe

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
