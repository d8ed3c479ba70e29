"""Constants that were fitted: where they lie in the data files, and their values by family.

A constant is a path such as ``gpus/ampere:gemm.share.bf16``: folder and file under
``planner/data``, then keys. ``data/held_out.yaml`` has, for each family that a fit used, the values
of a fit without it.
"""

from collections.abc import Mapping
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks.express import Expressed
from benchmarks.prediction import Model
from llmtrain.config.yaml_reader import read_yaml
from llmtrain.planner.curves import FOLDER as CURVES
from llmtrain.planner.curves import Curves, curves_from
from llmtrain.planner.stacks import Stack, read_stack, stack_data, stack_from
from llmtrain.planner.step import StepTime, case_of, step_time

HELD_OUT = Path(__file__).parent / "data" / "held_out.yaml"

Values = Mapping[str, float]
"""Path -> value."""


@lru_cache
def _curves_data(arch: str) -> dict[str, Any] | None:
    file = CURVES / f"{arch}.yaml"
    if not file.is_file():
        return None
    data: dict[str, Any] = read_yaml(file.read_text(encoding="utf-8"))
    return data


@lru_cache
def _stack_file(name: str) -> dict[str, Any]:
    data: dict[str, Any] = read_stack(name)
    return data


class Variant:
    """The planner with other values for some constants."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._curves: dict[str, Curves | None] = {}
        self._stacks: dict[str, Stack] = {}

    def curves(self, arch: str) -> Curves | None:
        """The curves of an architecture."""
        if arch not in self._curves:
            data = _curves_data(arch)
            made = None if data is None else curves_from(self._patched(f"gpus/{arch}", data))
            self._curves[arch] = made
        return self._curves[arch]

    def stack(self, name: str) -> Stack:
        """A software stack."""
        if name not in self._stacks:
            self._stacks[name] = stack_from(stack_data(name, self._stack_file))
        return self._stacks[name]

    def step(self, family: str, expressed: Expressed) -> StepTime | None:
        """The step of a row."""
        curves = self.curves(expressed.recipe.cluster.gpu.arch)
        if curves is None:
            return None
        return step_time(case_of(expressed.recipe, curves, self.stack(expressed.stack)))

    def _stack_file(self, name: str) -> dict[str, Any]:
        return self._patched(f"stacks/{name}", _stack_file(name))

    def _patched(self, file: str, data: dict[str, Any]) -> dict[str, Any]:
        mine = {path: value for path, value in self._values.items() if path.startswith(file + ":")}
        if not mine:
            return data
        changed = deepcopy(data)
        for path, value in mine.items():
            put(changed, path.split(":", 1)[1], value)
        return changed


def put(data: Any, keys: str, value: float) -> None:
    """Set ``a.b.c`` in nested mappings; an entry with a ``value`` keeps its source."""
    *way, last = keys.split(".")
    for key in way:
        data = data[key]
    if isinstance(data[last], dict):
        data[last]["value"] = value
    else:
        data[last] = value


def held_out_values() -> Mapping[str, Values]:
    """Family -> constants fitted without it."""
    found: Mapping[str, Values] = read_yaml(HELD_OUT.read_text(encoding="utf-8"))["families"]
    return found


def held_out_model() -> Model:
    """Every family by the constants that were fitted without it."""
    variants = {family: Variant(values) for family, values in held_out_values().items()}
    others = Variant({})

    def model(family: str, expressed: Expressed) -> StepTime | None:
        return variants.get(family, others).step(family, expressed)

    return model
