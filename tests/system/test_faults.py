"""Faults made in every run of the tests; ``python -m benchmarks.faults`` makes them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system.faults import FAULTS, Fault
from tests.system.playing import play, without_a_fault

if TYPE_CHECKING:
    from tests.system.conftest import Bed

Losses = dict[int, float]
QUICK = [fault for fault in FAULTS if fault.quick]


@pytest.fixture(scope="module")
def undisturbed() -> dict[tuple[str, ...], Losses]:
    """Losses of the run without a fault, of each shape, once it has been made."""
    return {}


@pytest.mark.parametrize("fault", QUICK, ids=lambda fault: fault.name)
def test_a_fault_is_cured_by_itself_and_named(
    bed: Bed, undisturbed: dict[tuple[str, ...], Losses], fault: Fault
) -> None:
    """The run ends with the losses of the one without it, and ``why`` says what happened."""
    if fault.shape not in undisturbed:
        undisturbed[fault.shape] = without_a_fault(bed, fault.shape)

    outcome = play(bed, fault, undisturbed[fault.shape])

    assert outcome.wrong == ()
