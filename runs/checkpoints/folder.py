"""The folder of a run's checkpoints: what lies there, what the program will load, what is whole."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from llmtrain.config.recipe import Recipe
from llmtrain.config.reference import trains
from llmtrain.launchers.backends.tracker import tracker_file
from llmtrain.runs.checkpoints.deepspeed import is_deepspeed, read_deepspeed
from llmtrain.runs.checkpoints.megatron import is_megatron, read_megatron
from llmtrain.runs.checkpoints.stored import Format, Stored
from llmtrain.runs.checkpoints.torch_dist import is_torch_dist, read_torch_dist

OWN = re.compile(r"step-\d{8}")
"""The reference trainer's; with ``.partial`` or ``.damaged`` behind it, it is none."""
SUMS = "SHA256SUMS"
NUMBER = re.compile(r"(\d+)(?:_universal)?$")


def read_stored(path: Path) -> Stored | None:
    """What the checkpoint at ``path`` says of itself; None if it is none of a known format."""
    step, inner = step_of(path.name), _inside(path)
    format = _format(inner)
    if format is None:
        return None
    try:
        found = READERS[format](inner, step)
    except (OSError, TypeError, ValueError, LookupError, AttributeError) as error:
        # A pickle that was changed may be whole and say anything.
        says = f"its metadata is not a checkpoint's ({type(error).__name__}: {error})"
        found = Stored(path=inner, format=format, step=step, damage=says)
    if found.damage or not OWN.fullmatch(path.name):
        return found
    return replace(found, path=path, damage=_unlisted(path))


READERS: dict[Format, Callable[[Path, int | None], Stored]] = {
    "torch_dist": read_torch_dist,
    "megatron": read_megatron,
    "deepspeed": read_deepspeed,
}
"""By the format that a folder's files show; DeepSpeed's reader knows universal ones."""


def _format(folder: Path) -> Format | None:
    """By the names of the files."""
    with suppress(OSError):
        if is_torch_dist(folder):
            return "torch_dist"
        if is_megatron(folder):
            return "megatron"
        if is_deepspeed(folder):
            return "deepspeed"
    return None


def _unlisted(path: Path) -> str | None:
    """What the reference trainer's list of checksums has, and the folder has not."""
    try:
        lines = (path / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return f"{SUMS}, which is written last, is missing"
    names = [line.partition("  ")[2] for line in lines]
    missing = [name for name in names if name and not (path / name).is_file()]
    return f"{missing[0]} is missing" if missing else None


def step_of(name: str) -> int | None:
    """The number that a checkpoint's name ends with: ``step-00000010``, ``global_step10``."""
    found = NUMBER.search(name)
    return int(found[1]) if found else None


def _inside(path: Path) -> Path:
    """The reference trainer may keep DeepSpeed's folder of a tag within its own."""
    try:
        tag = path / (path / "latest").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return path
    return tag if tag.is_dir() else path


def listed(folder: Path, recipe: Recipe) -> list[Path]:
    """What may be a checkpoint of the recipe's program, the newest first.

    Raises:
        OSError: if the folder cannot be read, or is a link to what is not there.
    """
    return [each for each in _folders(folder) if _is_of(each, recipe)]


def strangers(folder: Path, recipe: Recipe) -> Iterator[Stored]:
    """Checkpoints that the recipe's program does not look for, the newest first.

    Raises:
        OSError: as :func:`listed`.
    """
    for path in _folders(folder):
        half = path.name.startswith(".") or path.name.endswith(".partial")
        stored = None if half or _is_of(path, recipe) else read_stored(path)
        if stored is not None:
            yield stored


def _folders(folder: Path) -> list[Path]:
    if not folder.is_symlink() and not folder.exists():
        return []
    # A link whose end is not mounted is not passed over: it stands for a checkpoint.
    found = [each for each in folder.iterdir() if each.is_dir() or each.is_symlink()]
    return sorted(found, key=lambda each: (step_of(each.name) or 0, each.name), reverse=True)


def _is_of(path: Path, recipe: Recipe) -> bool:
    name = recipe.backend.name
    if trains(recipe):
        return bool(OWN.fullmatch(path.name))
    if name == "megatron-lm":
        return bool(re.fullmatch(r"iter_\d{7,}|release", path.name))
    universal = path.name.endswith("_universal")
    return not path.name.startswith(".") and universal == recipe.checkpoint.universal


def named(folder: Path, recipe: Recipe) -> str | None:
    """What the program's tracker says, as it stands there; None: there is no tracker.

    Raises:
        OSError, ValueError: if it cannot be read.
    """
    file = tracker_file(recipe)
    if file is None or not (folder / file).is_file():
        return None
    return (folder / file).read_text(encoding="utf-8").strip()


def tracked(folder: Path, recipe: Recipe, word: str) -> Path:
    """The checkpoint that the word in a tracker means."""
    if recipe.backend.name == "megatron-lm" and word.isdigit():
        return folder / f"iter_{int(word):07d}"
    return folder / word


def word_for(path: Path, recipe: Recipe) -> str:
    """What a tracker must say for ``path`` to be loaded."""
    number = step_of(path.name)
    return str(number) if recipe.backend.name == "megatron-lm" and number else path.name


def whole(folder: Path, recipe: Recipe) -> Iterator[Stored]:
    """The checkpoints that are whole, the newest first; each is read when it is asked for.

    Raises:
        OSError: as :func:`listed`.
    """
    for path in listed(folder, recipe):
        stored = read_stored(path)
        if stored is not None and stored.whole:
            yield stored
