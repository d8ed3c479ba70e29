"""A curve as text: one column of blocks for each bin of steps."""

from collections.abc import Sequence
from itertools import pairwise

BLOCKS = " ▁▂▃▄▅▆▇█"


def plot(points: Sequence[tuple[int, float]], width: int = 60, height: int = 8) -> str:
    """``points`` (step, value) as ``height`` rows of at most ``width`` columns, with its ends.

    Empty without points.
    """
    if not points:
        return ""
    columns = _columns([value for _, value in points], width)
    low, high = min(columns), max(columns)
    rows = [_row(columns, level, height, low, high) for level in reversed(range(height))]
    labels = {0: f"{high:.2f}", height - 1: f"{low:.2f}"}
    margin = max(len(label) for label in labels.values())
    lines = [f"{labels.get(number, ''):>{margin}} │{row}" for number, row in enumerate(rows)]
    axis = _axis(str(points[0][0]), str(points[-1][0]), len(columns))
    return "\n".join([*lines, f"{'':>{margin}} └{'─' * len(columns)}", f"{'':>{margin}}  {axis}"])


def _axis(first: str, last: str, width: int) -> str:
    """The first and the last step below the ends of the curve, never run into each other."""
    return first if first == last else f"{first} {last.rjust(width - len(first) - 1)}"


def _columns(values: Sequence[float], width: int) -> list[float]:
    """Means of the values, ``width`` bins at the most."""
    count = min(width, len(values))
    edges = [number * len(values) // count for number in range(count + 1)]
    return [sum(values[start:end]) / (end - start) for start, end in pairwise(edges)]


def _row(columns: Sequence[float], level: int, height: int, low: float, high: float) -> str:
    scale = height * (len(BLOCKS) - 1) / ((high - low) or 1)
    eighths = [1 + round((value - low) * scale * (1 - 1 / (height * 8))) for value in columns]
    filled = (max(0, min(8, each - 8 * level)) for each in eighths)
    return "".join(BLOCKS[each] for each in filled)
