"""How often ``llmtrain why`` is right: ``python -m benchmarks.why``; precision and recall by class.

The corpus is tests/runs/why/corpus: faults that were really made, and logs written after public
reports. Those under held_out.yaml were written when the patterns were done.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from llmtrain.runs.why.advice import advise
from llmtrain.runs.why.cause import cause_of_files, cause_of_run

CORPUS = Path(__file__).parents[1] / "tests" / "runs" / "why" / "corpus"
CHECKED = ("class", "rank", "host", "phase", "exclude")
"""What a case says of its cause; what it leaves out is not compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One failure with its logs."""

    name: str
    """File and number."""
    said: dict[str, Any]
    """As in the corpus."""

    @property
    def held_out(self) -> bool:
        """Whether it was written when the patterns were done."""
        return self.name.startswith("held_out")

    @property
    def kind(self) -> str:
        """Its class."""
        return str(self.said["class"])


def cases() -> Iterator[Case]:
    """The whole corpus."""
    for path in sorted(CORPUS.glob("*.yaml")):
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        for number, said in enumerate(found if isinstance(found, list) else [found], 1):
            yield Case(name=f"{path.stem}-{number}", said=said)


def answer(case: Case, folder: Path) -> dict[str, Any]:
    """What ``why`` says of the logs of ``case``, written into ``folder``."""
    for name, text in case.said["files"].items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    is_run = (folder / "events.jsonl").is_file()
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    cause = cause_of_run(folder) if is_run else cause_of_files(files)
    return {
        "class": cause.kind,
        "rank": cause.rank,
        "host": cause.host,
        "phase": cause.phase,
        "exclude": advise(cause).exclude,
    }


def answers() -> list[tuple[Case, dict[str, Any]]]:
    """Of every case."""
    found = []
    for case in cases():
        with tempfile.TemporaryDirectory() as folder:
            found.append((case, answer(case, Path(folder))))
    return found


def wrong(case: Case, said: dict[str, Any]) -> dict[str, Any]:
    """What was said and should have been, where they differ."""
    asked = {key: case.said[key] for key in CHECKED if key in case.said}
    return {key: (said[key], value) for key, value in asked.items() if said[key] != value}


def scores(found: list[tuple[Case, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Precision and recall of each class; null where nothing was said, or there is no case."""
    kinds = sorted({case.kind for case, _ in found} | {said["class"] for _, said in found})
    table: dict[str, dict[str, Any]] = {}
    for kind in kinds:
        right = sum(case.kind == kind == said["class"] for case, said in found)
        said_so = sum(said["class"] == kind for _, said in found)
        there = sum(case.kind == kind for case, _ in found)
        table[kind] = {
            "cases": there,
            "precision": right / said_so if said_so else None,
            "recall": right / there if there else None,
        }
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.why", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    as_json = parser.parse_args().json
    found = answers()
    failures = {case.name: wrong(case, said) for case, said in found if wrong(case, said)}
    parts = {
        "made": [pair for pair in found if "made" in pair[0].said],
        "written": [p for p in found if "made" not in p[0].said and not p[0].held_out],
        "held out": [pair for pair in found if pair[0].held_out],
    }
    if as_json:
        right = {name: _right(part) for name, part in parts.items()}
        bare = [case.name for case, _ in found if not {"made", "source"} & set(case.said)]
        table = {"classes": scores(found), "right": right, "wrong": failures}
        print(json.dumps(table | {"without_source": bare}))
        return
    print(f"{'class':<16}{'cases':>6}{'precision':>11}{'recall':>8}")
    for kind, score in scores(found).items():
        cells = (_share(score["precision"]), _share(score["recall"]))
        print(f"{kind:<16}{score['cases']:>6}{cells[0]:>11}{cells[1]:>8}")
    for name, part in parts.items():
        count, number = _right(part)
        print(f"{name}: {count} of {number} cases right in all that they say")
    blind = [pair for pair in parts["held out"] if "first" not in pair[0].said]
    print(f"held out, when first asked: {len(blind)} of {len(parts['held out'])}")
    for name, said in failures.items():
        print(
            f"{name}: " + ", ".join(f"{key} {was}, not {is_}" for key, (was, is_) in said.items())
        )


def _right(part: list[tuple[Case, dict[str, Any]]]) -> tuple[int, int]:
    return sum(not wrong(case, said) for case, said in part), len(part)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    main()
