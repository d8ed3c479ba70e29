"""Trials whose losses are compared with those of one rank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.trainer.layouts import ADAM

if TYPE_CHECKING:
    from tests.trainer.conftest import Lab, Trial

STEPS = 8

TOLERANCE = 1e-5
"""Nats; 6e-7 was measured."""


class Runs:
    """Trials on one rank, each trained once."""

    def __init__(self, lab: Lab, shapes: dict[str, dict[str, Any]]) -> None:
        self._lab, self._shapes = lab, shapes
        self._alone: dict[str, Trial] = {}

    def trial(self, shape: str, **keys: Any) -> Trial:
        """A trial of ``shape``."""
        groups = {"optim": ADAM, "model": self._shapes[shape]} | keys
        return self._lab.trial(STEPS, **groups)

    def run(self, shape: str, **keys: Any) -> Trial:
        """The same, trained."""
        return self.trial(shape, **keys).train()

    def alone(self, shape: str) -> Trial:
        """The one of ``shape`` on one rank."""
        if shape not in self._alone:
            self._alone[shape] = self.run(shape)
        return self._alone[shape]
