"""The cells of a row, read: spellings, numbers, what a blank stands for (``data/cells.yaml``)."""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from benchmarks.points import Point
from benchmarks.shapes import NotExpressible

FILE = Path(__file__).parent / "data" / "cells.yaml"


@lru_cache
def _rules() -> Mapping[str, Any]:
    data: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return data


def read_cells(point: Point) -> tuple[Point, tuple[str, ...]]:
    """The row with one spelling for each thing, and the blanks that were filled.

    Raises:
        NotExpressible: if a cell is not blank and cannot be read; all of them are named.
    """
    rules, cells, wrong = _rules(), dict(point.cells), list[str]()
    for column in {*rules["words"], *rules["counts"], *rules["numbers"], "year"}:
        text = point.text(column)
        if text.lower() in rules["blank"] or (column in rules["counts"] and text.lower() == "none"):
            cells[column] = ""
            continue
        try:
            cells[column] = _read(column, text)
        except NotExpressible as refused:
            wrong.append(str(refused))
    wrong += _contradicted(point)
    if wrong:
        raise NotExpressible("; ".join(sorted(wrong)))
    blank = {name: value for name, value in rules["defaults"].items() if not cells[name]}
    filled = Point({**cells, **blank})
    return filled, tuple(f"{name}: {value}" for name, value in blank.items())


def _contradicted(point: Point) -> list[str]:
    """What a source says elsewhere of cells that it printed otherwise."""
    return [
        str(rule["because"])
        for rule in _rules()["contradicted"]
        if all(point.text(column) == words for column, words in rule["cells"].items())
    ]


def _read(column: str, text: str) -> str:
    rules = _rules()
    if column in rules["words"]:
        return _word(column, text)
    if column == "year":
        return _year(text)
    value = Point({column: text}).number(column)
    if column in rules["counts"]:
        if value == 0 and column in rules["none_is_zero"]:
            return ""
        if value is None or value < 1 or value != int(value):
            raise NotExpressible(f"{column} {text} is no whole number above 0")
    elif value is None or value <= 0:
        raise NotExpressible(f"{column} {text} is no number above 0")
    if value > (rules["counts"] | rules["numbers"])[column]:
        raise NotExpressible(f"{column} {text} is more than there is")
    return text


def _word(column: str, text: str) -> str:
    patterns, small = _rules()["words"][column], text.lower()
    for pattern, meant in patterns:
        found = re.fullmatch(pattern, small)
        if not found:
            continue
        if isinstance(meant, dict):
            raise NotExpressible(f"{column} {text}: {meant['because']}")
        return f"block({found[found.lastindex or 0]})" if meant == "block" else str(meant)
    known = dict.fromkeys(str(meant) for _, meant in patterns if not isinstance(meant, dict))
    raise NotExpressible(f"{column} {text} is not known; known: {', '.join(known)}")


def _year(text: str) -> str:
    first, last = _rules()["years"]
    found = re.fullmatch(r"(\d{4})(\.0+|[-/].*)?", text)
    if found and first <= int(found[1]) <= last:
        return found[1]
    raise NotExpressible(f"year {text} is none from {first} to {last}")
