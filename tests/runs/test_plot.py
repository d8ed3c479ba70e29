"""The curve of a run."""

import pytest

from llmtrain.runs.plot import plot


def test_a_fall() -> None:
    """Rows from the top, ends labelled, steps below."""
    points = [(step, 5.0 - step / 10) for step in range(1, 11)]

    assert plot(points, width=10, height=2) == "\n".join(
        [
            "4.90 │█▆▅▃▁     ",
            "4.00 │██████▆▄▃▁",
            "     └──────────",
            "      1       10",
        ]
    )


def test_more_points_than_columns() -> None:
    """Each column is the mean of its points."""
    points = [(step, float(step > 4)) for step in range(1, 9)]

    assert plot(points, width=4, height=1) == "0.00 │▁▁██\n     └────\n      1  8"


@pytest.mark.parametrize(
    ("points", "shown"),
    [
        ([], ""),
        ([(3, 2.0)], "2.00 │▁\n     └─\n      3"),
        ([(9, 2.0), (10, 2.0)], "2.00 │▁▁\n     └──\n      9 10"),
    ],
)
def test_few_points(points: list[tuple[int, float]], shown: str) -> None:
    """Nothing, a point, a flat line: no division by nothing, no steps run into each other."""
    assert plot(points, height=1) == shown


def test_the_widest() -> None:
    """A long run fits a terminal."""
    points = [(step, 1 / step) for step in range(1, 100_001)]

    assert max(len(line) for line in plot(points).splitlines()) <= 80
