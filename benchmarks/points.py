"""Published points: rows of a CSV with the columns of ``data/published_points.csv``."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).parent / "data" / "published_points.csv"


@dataclass(frozen=True, slots=True)
class Point:
    """One row. A blank cell is unknown."""

    cells: Mapping[str, str]
    """Column -> text, stripped."""

    def text(self, column: str) -> str:
        """The cell; empty where it is blank or the column is missing."""
        return self.cells.get(column, "")

    def number(self, column: str) -> float | None:
        """The cell as a number; None where it is none."""
        try:
            value = float(self.text(column).replace(",", ""))
        except ValueError:
            return None
        return value if value == value and abs(value) != float("inf") else None

    def whole(self, column: str) -> int | None:
        """The cell as a whole number of 1 and more; None where it is none."""
        value = self.number(column)
        return int(value) if value is not None and value >= 1 else None

    @property
    def id(self) -> str:
        """Unique in its file."""
        return self.text("id")

    @property
    def family(self) -> str:
        """The source that published it."""
        return self.text("family")

    @property
    def shape(self) -> tuple[str, ...]:
        """What makes two rows the same model."""
        names = ("layers", "hidden", "heads", "kv_heads", "ffn", "vocab", "seq", "experts")
        return tuple(self.text(name) for name in names)


def families_of(points: Iterable[Point]) -> Mapping[str, list[Point]]:
    """The rows of each source, in their order; none of one that is not there."""
    families = defaultdict[str, list[Point]](list)
    for point in points:
        families[point.family].append(point)
    return families


def read_points(file: Path) -> list[Point]:
    """Every row of ``file``."""
    with file.open(encoding="utf-8-sig", newline="") as stream:
        return points_of(csv.DictReader(stream))


def points_of(rows: Iterable[Mapping[Any, object]]) -> list[Point]:
    """Rows as points; columns without a name are dropped, and their names are read in any case."""
    return [
        Point({key.strip().lower(): str(value or "").strip() for key, value in row.items() if key})
        for row in rows
    ]
