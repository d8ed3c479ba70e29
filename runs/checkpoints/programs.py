"""What programs do with checkpoints: the facts of programs.yaml."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from llmtrain.config.yaml_reader import read_yaml


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversion:
    """What makes another layout, or another format, of a checkpoint."""

    commands: tuple[str, ...]
    """For a shell, in order; in braces ``folder``, ``name``, ``path``, ``checkout`` and degrees."""
    then: str
    """What the recipe has to say then, as an override; empty: nothing."""
    says: str
    """What it keeps."""
    makes: tuple[str, ...]
    """Degrees that it can change."""


def reshardable(optimizer: str | None) -> bool:
    """Whether any layout reads an optimizer's state that was cut so; None: it was not cut."""
    return optimizer is None or optimizer in _facts()["reshardable"]["value"]


def resave_flags() -> tuple[str, ...]:
    """Flags of Megatron-LM, newest first, that write a state which any layout reads."""
    return tuple(_facts()["resave"]["flags"])


def conversion(kind: str) -> Conversion:
    """How a checkpoint of format ``megatron`` or ``deepspeed`` is converted."""
    found = _facts()["convert"][kind]
    return Conversion(
        commands=tuple(found["commands"]),
        then=found["then"],
        says=found["says"],
        makes=tuple(found["makes"]),
    )


@cache
def _facts() -> dict[str, Any]:
    text = files("llmtrain.runs.checkpoints").joinpath("programs.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = read_yaml(text)
    return found
