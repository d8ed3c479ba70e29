"""What recipes there are, read from their files without composing them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from llmtrain.config.search import SearchPath
from llmtrain.config.yaml_reader import read_yaml


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One complete run."""

    name: str
    """As in ``recipe=NAME``."""
    path: Path
    """Its file."""
    description: str
    """One line."""
    source: str
    """Where it was published."""
    gpus: int | None
    """GPUs it asks for."""
    model: str
    """Name of its model."""
    cluster: str
    """Name of its cluster."""
    backend: str
    """Name of its backend."""

    def as_json(self) -> dict[str, Any]:
        """The same for ``--json``."""
        return asdict(self) | {"path": str(self.path)}


def catalog(path: SearchPath) -> list[Entry]:
    """Every recipe on the search path, by name. A broken file is listed by its name."""
    return [_entry(name, file) for name, file in path.recipes().items()]


def _entry(name: str, file: Path) -> Entry:
    try:
        data = read_yaml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        data = {}
    data = data if isinstance(data, Mapping) else {}
    chosen = _chosen(data.get("defaults"))
    gpus = data.get("gpus")
    return Entry(
        name=name,
        path=file,
        description=str(data.get("description") or ""),
        source=str(data.get("source") or ""),
        gpus=gpus if isinstance(gpus, int) else None,
        model=chosen.get("model", ""),
        cluster=chosen.get("cluster", ""),
        backend=chosen.get("backend", ""),
    )


def _chosen(defaults: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in defaults if isinstance(defaults, list) else []:
        if isinstance(item, Mapping):
            found |= {str(group).split()[-1]: str(option) for group, option in item.items()}
    return found
