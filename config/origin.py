"""Where a key was set: found only when a mistake is to be answered."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from hydra.core.override_parser.types import Override

from llmtrain.config.overrides import key


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A file that went into a recipe."""

    path: Path
    """The YAML file."""
    package: str
    """The dotted key under which its content lies; empty at the top."""


def where_set(name: str, overrides: Sequence[Override], sources: Sequence[Source]) -> str:
    """The command line argument, or file and line, that set ``name``; empty if none did."""
    for override in reversed(overrides):
        if f"{name}.".startswith(f"{key(override)}.") or key(override).startswith(f"{name}."):
            return f"command line: {override.input_line}"
    for source in reversed(sources):
        line = _line(source, name)
        if line is not None:
            return f"{source.path}:{line}"
    return ""


def _line(source: Source, name: str) -> int | None:
    if source.package:
        if not name.startswith(f"{source.package}."):
            return None
        name = name.removeprefix(f"{source.package}.")
    try:
        node = yaml.compose(source.path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return None
    return next(iter(_lines(node, name.split("."))), None)


def _lines(node: yaml.Node | None, parts: list[str]) -> Iterator[int]:
    if not isinstance(node, yaml.MappingNode):
        return
    for key_node, value_node in node.value:
        if key_node.value != parts[0]:
            continue
        if len(parts) == 1:
            yield key_node.start_mark.line + 1
        else:
            yield from _lines(value_node, parts[1:])
