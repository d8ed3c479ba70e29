"""``llmtrain drill``: what was rehearsed, the lead time, the losses; 6 if anything failed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llmtrain.runs.drill import drill as module
from llmtrain.runs.drill.drill import Drill
from llmtrain.runs.drill.rehearsal import Comparison, Rehearsed

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

WARNED = Rehearsed(
    name="the time limit",
    passed=True,
    saved=14,
    loaded=14,
    lead_seconds=1.25,
    seconds=20,
    says="",
)
KILLED = Rehearsed(
    name="kill -9 of rank 1",
    passed=False,
    saved=20,
    loaded=10,
    lead_seconds=None,
    seconds=30,
    says="step 10 was loaded, not 20",
)


def apart(difference: float, noise: float = 0.0) -> Comparison:
    """Two runs whose losses differ by so much, and before the first fault by so much."""
    return Comparison(steps=33, difference=difference, noise=noise)


@pytest.fixture
def drilled(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the drill finds, and which plan it was asked to rehearse."""
    found: dict[str, Any] = {}

    def drill(real: Any, plan: Any, launch: Any, console: Any) -> Drill:
        found["plan"] = plan
        return Drill(
            folder=Path("/runs/drill"),
            rehearsed=found["rehearsed"],
            comparison=found.get("comparison"),
            asked_seconds=90,
        )

    monkeypatch.setattr(module, "drill", drill)
    return found


def test_a_drill_that_passes(cli: Cli, drilled: dict[str, Any]) -> None:
    """Everything in a table; the small plan was rehearsed."""
    drilled |= {"rehearsed": (WARNED,), "comparison": apart(0.0)}
    said = cli("drill", "recipe=gpt-tiny")

    assert said.status == 0
    assert "warning to checkpoint: 1.2 s; the real run's script warns 90 s before" in said.out
    assert "losses of 33 steps with and without the faults: the same" in said.out
    assert drilled["plan"].recipe.model.name == "drill"


def test_a_resume_within_the_noise_of_the_run_passes(cli: Cli, drilled: dict[str, Any]) -> None:
    """Two runs that nothing happens to are nearly as far apart; both figures are printed."""
    drilled |= {"rehearsed": (WARNED,), "comparison": apart(0.001, noise=0.0004)}
    said = cli("drill", "recipe=gpt-tiny")

    assert said.status == 0
    assert "with and without the faults: apart by 0.001 at the most" in said.out
    assert "before the first fault they are apart by 0.0004; 0.004 would pass" in said.out


@pytest.mark.parametrize(
    ("rehearsed", "comparison"),
    [
        ((WARNED, KILLED), None),
        ((WARNED,), apart(0.5)),
        ((WARNED,), apart(0.001)),
        ((WARNED,), apart(0.03, noise=0.01)),
    ],
)
def test_a_drill_that_fails(
    cli: Cli, drilled: dict[str, Any], rehearsed: Any, comparison: Comparison | None
) -> None:
    """A fault that was not survived, or other losses."""
    drilled |= {"rehearsed": rehearsed, "comparison": comparison}
    said = cli("drill", "recipe=gpt-tiny", "--json")

    assert said.status == 6
    assert json.loads(said.out)["passed"] is False
