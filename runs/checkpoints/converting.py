"""How a checkpoint of another layout is converted where its program does not do it by itself."""

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from llmtrain.config.layout import degrees
from llmtrain.config.recipe import Recipe
from llmtrain.launchers.backends.tracker import UNIVERSAL
from llmtrain.runs.checkpoints.outcome import Verdict, no
from llmtrain.runs.checkpoints.programs import conversion
from llmtrain.runs.checkpoints.stored import Stored


def converted(kind: str, stored: Stored, recipe: Recipe, cut: Mapping[str, str]) -> Verdict:
    """With which commands; ``cut``: what the program does not read, by degree."""
    how, why = conversion(kind), ", ".join(cut.values())
    if kind == "deepspeed" and _is_converted(stored.path):
        return converted_already(f" ({why})")
    # What is converted has no virtual stages.
    stay = [text for name, text in cut.items() if name not in (*how.makes, "vpp")]
    stay += [f"vpp {recipe.parallel.vpp}"] if recipe.parallel.vpp > 1 else []
    if stay:
        return no(f"{why}, and the program's converter does not make {', '.join(stay)}")
    return Verdict(
        outcome="convert",
        says=f"needs conversion ({why}; {how.says})",
        commands=tuple(line.format_map(_words(stored.path, recipe)) for line in how.commands),
        then=how.then,
    )


def _is_converted(path: Path) -> bool:
    """Whether there is a universal checkpoint of this one, whole: its converter names it last."""
    try:
        named = path.with_name(UNIVERSAL).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return False
    return named == f"{path.name}_universal"


def _words(path: Path, recipe: Recipe) -> dict[str, Any]:
    """What stands in a command: paths for a shell, and degrees."""
    checkout = recipe.backend.path
    return degrees(recipe) | {
        # Without links: a folder is moved where it is, and what leads to it stays.
        "folder": quote(str(path.parent.resolve())),
        "name": path.name,
        "path": quote(str(path)),
        "checkout": quote(f"{checkout}/") if checkout else "",
    }


def converted_already(why: str = "") -> Verdict:
    """By which key DeepSpeed reads a universal checkpoint that is there."""
    then = conversion("deepspeed").then
    return Verdict(
        outcome="convert", says=f"needs `{then}`{why}: it was converted already", then=then
    )
