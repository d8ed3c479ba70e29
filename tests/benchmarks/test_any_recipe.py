"""Random recipes are answered with a plan or errors, and every offered repair gives a valid plan.

A few of each here; ``make bench`` runs 300 through composition and 10 000 on the dataclasses.
"""

from benchmarks.any_recipe import run_built, run_composed


def test_recipes_through_composition() -> None:
    """As typed on the command line; each repair is pasted and planned."""
    answers = run_composed(8, derandomize=True)

    assert answers["plan"] and answers["errors"]


def test_recipes_of_dataclasses() -> None:
    """The plan's sums are checked besides."""
    answers = run_built(60, derandomize=True)

    assert answers["plan"] and answers["errors"] and answers["errors in the plan"]
