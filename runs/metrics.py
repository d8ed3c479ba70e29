"""The steps of a run: metrics.jsonl, or the lines that Megatron's programs print.

Formats: Megatron-LM ``megatron/training/training.py`` and Megatron-DeepSpeed
``megatron/training.py``, both ``training_log`` and ``save_checkpoint``.
"""

import re
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from llmtrain.runs.events import json_lines
from llmtrain.runs.folder import read_plan
from llmtrain.runs.lives import MARK
from llmtrain.runs.logs import log_files
from llmtrain.runs.reported_memory import reported_memory

ITERATION = re.compile(r"iteration\s+(\d+)/\s*\d+ \|(.*)")
SAVED = re.compile(r"successfully saved checkpoint (?:from|at) iteration\s+(\d+)")
NAMES = {"lm loss": "loss", "learning rate": "learning_rate", "grad norm": "grad_norm"}


def rows(folder: Path, tail: int | None = None) -> list[dict[str, Any]]:
    """The steps, or those in the last ``tail`` bytes; as in metrics.jsonl."""
    own = folder / "metrics.jsonl"
    if own.is_file():
        return [row for row in json_lines(own, tail) if "loss" in row]
    return list(_program_rows(folder, tail))


def program_checkpoint(folder: Path, tail: int) -> int | None:
    """Step of the newest checkpoint that a Megatron program says it has saved."""
    found = [SAVED.search(line) for line in _lines(folder, tail)]
    steps = [int(each.group(1)) for each in found if each]
    return steps[-1] if steps else None


def has_begun(folder: Path, tail: int) -> bool:
    """Whether a program that writes no events has trained a step in its newest life."""
    begun = False
    for line in _lines(folder, tail):
        begun = bool(ITERATION.search(line)) or (begun and not MARK.match(line))
    return begun


def _program_rows(folder: Path, tail: int | None) -> Iterator[dict[str, Any]]:
    plan = read_plan(folder)
    tokens, memory = _tokens_per_sequence(plan), reported_memory(folder, plan)
    for line in _lines(folder, tail):
        found = ITERATION.search(line)
        if found:
            yield _row(int(found.group(1)), _fields(found.group(2)), tokens) | memory


def _lines(folder: Path, tail: int | None) -> Iterator[str]:
    """Of the launcher's log and those of the last rank, of which the newest comes last."""
    logs = log_files(folder)
    ranks = [path for path in logs[1:] if path.name == logs[-1].name]
    for path in (*logs[:1], *sorted(ranks, key=lambda path: path.stat().st_mtime)):
        with path.open("rb") as file:
            if tail is not None:
                file.seek(max(0, file.seek(0, 2) - tail))
            for line in file:
                yield line.decode("utf-8", errors="replace")


def _fields(text: str) -> dict[str, float | None]:
    """By name; what is not a finite number is None, as the trainer writes it."""
    found: dict[str, float | None] = {}
    for part in text.split("|"):
        name, _, value = part.partition(": ")
        try:
            number = float(value)
        except ValueError:
            continue
        found[name.strip()] = number if isfinite(number) else None
    return found


def _row(step: int, said: Mapping[str, float | None], tokens: float | None) -> dict[str, Any]:
    row: dict[str, Any] = {"step": step, "loss": said.get("lm loss")}
    row |= {NAMES[name]: value for name, value in said.items() if name in NAMES}
    milliseconds, batch = said.get("elapsed time per iteration (ms)"), said.get("global batch size")
    if milliseconds:
        row["step_seconds"] = milliseconds / 1000
        if tokens and batch:
            row["tokens_per_second"] = tokens * batch / row["step_seconds"]
    return row


def _tokens_per_sequence(plan: Mapping[str, Any]) -> float | None:
    """By the plan: tokens a second, times seconds a step, over sequences a step."""
    try:
        speed = plan["tokens_per_second_per_gpu"] * plan["gpus"]
        return float(speed * plan["step_seconds"] / plan["batch"]["global"])
    except (KeyError, TypeError):
        return None
