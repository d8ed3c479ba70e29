"""Compute-optimal sizes against the tables of the papers."""

import pytest

from llmtrain.planner.search.size import PETAFLOP_DAY, chinchilla, kaplan, of_flops, of_tokens

CHINCHILLA_TABLE_3 = [
    (1e9, 1.21e20, 20.2e9),
    (10e9, 1.23e22, 205.1e9),
    (67e9, 5.76e23, 1.5e12),
    (175e9, 3.85e24, 3.7e12),
    (1e12, 1.27e26, 21.2e12),
]
"""Parameters, operations, tokens (Hoffmann et al. 2022, table 3, approach 1)."""


@pytest.mark.parametrize(("parameters", "flops", "tokens"), CHINCHILLA_TABLE_3)
def test_chinchilla_is_its_table(parameters: float, flops: float, tokens: float) -> None:
    """Within the rounding of 20 tokens a parameter."""
    size = chinchilla(flops)

    assert size.parameters == pytest.approx(parameters, rel=0.04)
    assert size.tokens == pytest.approx(tokens, rel=0.08)


def test_kaplan_is_its_figure() -> None:
    """1.3e9 parameters for a PF-day, and 0.73 of a decade more for each decade."""
    assert kaplan(PETAFLOP_DAY).parameters == pytest.approx(1.3e9)
    ratio = kaplan(1e3 * PETAFLOP_DAY).parameters / 1.3e9
    assert ratio == pytest.approx(10**2.19)


@pytest.mark.parametrize("tokens", [2e10, 3e11, 1.4e12])
def test_tokens_and_operations_are_one_law(tokens: float) -> None:
    """The size for so many tokens is the size for the operations that they take."""
    for law, other in zip(of_tokens(tokens), of_flops(1.0), strict=True):
        again = next(one for one in of_flops(law.flops) if one.law == other.law)
        assert law.tokens == pytest.approx(tokens)
        assert again.parameters == pytest.approx(law.parameters)
        assert law.flops == pytest.approx(6 * law.parameters * law.tokens)
