"""Memory of Megatron's programs, from what a rank of each stage prints after its first steps.

Format: ``report_memory`` in Megatron-LM ``megatron/training/utils.py`` and Megatron-DeepSpeed
``megatron/utils.py``; those whose data parallel rank is 0 print it, newer releases of Megatron-LM
after the first step of a life and after its second.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmtrain.runs.logs import log_files, rank_of

REPORT = re.compile(
    rb"\[Rank (\d+)\] \(after (\d+) iterations\) memory \(MB\)"
    rb"[^\n]*?\| max allocated: (\d+(?:\.\d+)?)"
)
HEAD_BYTES, TAIL_BYTES = 256 * 1024, 64 * 1024
"""Where a log is looked into: a life says it once, soon after its start."""
MB = 2**20
"""What both programs divide by."""


def reported_memory(folder: Path, plan: Mapping[str, Any]) -> dict[str, Any]:
    """What rows of metrics.jsonl hold of memory, as far as it was printed; empty: nothing was.

    ``memory_bytes`` of the rank with the most, ``stage_memory_bytes`` if every stage said it, and
    ``memory_step``, the step after which the first of them was said.
    """
    firsts = _first_ranks(folder, plan)
    newest: dict[int, tuple[int, float]] = {}
    for text in _texts(folder, firsts):
        for rank, step, most in REPORT.findall(text):
            newest[int(rank)] = (int(step), float(most))
    if not newest or not firsts:
        return {}
    stages: dict[int, int] = {}
    for rank, (_, most) in newest.items():
        stage = bisect_right(firsts, rank) - 1
        stages[stage] = max(stages.get(stage, 0), round(most * MB))
    found: dict[str, Any] = {
        "memory_bytes": max(stages.values()),
        "memory_step": min(step for step, _ in newest.values()),
    }
    if len(stages) == len(firsts):
        found["stage_memory_bytes"] = [stages[stage] for stage in range(len(firsts))]
    return found


def _first_ranks(folder: Path, plan: Mapping[str, Any]) -> list[int]:
    """Of each stage; the others that print follow it, before the first of the next stage."""
    sizes = plan.get("parallel")
    if not isinstance(sizes, dict):
        return []
    stride = sizes["tp"] * sizes["cp"]
    if sizes["dp"] > 1 and sizes["pp"] > 1 and not _order(folder).endswith("pp-dp"):
        stride *= sizes["dp"]
    return [stage * stride for stage in range(sizes["pp"])]


def _order(folder: Path) -> str:
    """The recipe's ``parallel.order``; empty if it cannot be read."""
    # `status` starts without YAML.
    import yaml

    from llmtrain.config.yaml_reader import read_yaml

    try:
        recipe = read_yaml((folder / "recipe.yaml").read_text(encoding="utf-8"))
        return str(recipe["parallel"]["order"])
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return ""


def _texts(folder: Path, firsts: Sequence[int]) -> Iterator[bytes]:
    """Of the launcher's log, which has every rank where there are no others, and of one a stage.

    The ranks of a stage that report differ by little.
    """
    wanted = {-1, *firsts}
    for path in (path for path in log_files(folder) if rank_of(path) in wanted):
        with path.open("rb") as file:
            head, size = file.read(HEAD_BYTES), file.seek(0, 2)
            file.seek(max(len(head), size - TAIL_BYTES))
            yield head + file.read()
