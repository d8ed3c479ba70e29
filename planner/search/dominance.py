"""Recompute that is not needed: a layout that fits with less of it is never slower so.

What is computed again only adds to a step: its backward pass may hide more of the gradients'
reduction, but never more than it takes itself. A test times both.
"""

from typing import Any

import numpy as np

from llmtrain.config.numerics import Recompute
from llmtrain.planner.search.space import Space, Table


def more_work(space: Space, table: Table) -> Any:
    """Rows of which another one is the same with less recompute; ``table`` holds all that fit."""
    known = space.recomputes
    less = np.array([[_is_less(one, other) for other in known] for one in known], dtype=np.int64)
    place = table["structure"] * 4 + table["zero"]
    size = int(place.max()) + 1 if len(place) else 0
    fits = np.zeros((size, len(known)), dtype=np.int64)
    fits[place, table["recompute"]] = 1
    return (fits @ less)[place, table["recompute"]] > 0


def _is_less(one: Recompute, other: Recompute) -> bool:
    """Whether ``one`` computes less again than ``other``, whatever the model."""
    if one.kind == "none":
        return other.kind != "none"
    if one.kind == "selective":
        if other.kind == "selective":
            return set(one.modules) < set(other.modules)
        return other.kind == "full" and other.method == "uniform"
    if one.method != "block" or other.kind != "full":
        return False
    return other.method == "uniform" or other.layers > one.layers
