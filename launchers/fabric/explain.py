"""Everything that is known of one variable: what it does, and what each cluster sets."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llmtrain.config.errors import Problem, UsageError
from llmtrain.config.search import search_path
from llmtrain.config.yaml_reader import read_yaml
from llmtrain.launchers.fabric.known import Known, known, near
from llmtrain.launchers.fabric.values import in_words

STATES = {"": "current", "old": "out of date", "gone": "no longer read", "wrong": "not a variable"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Use:
    """What one cluster's data says."""

    cluster: str
    """Its name, or that of the data that several share."""
    value: str
    """What it sets."""
    level: str
    """required, recommended, conditional, optional, …"""
    why: str
    """The reason."""
    not_when: str
    """Where it does not apply."""
    source: str
    """Where this was read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """The answer to ``llmtrain env explain NAME``."""

    fact: Known
    """What the libraries say."""
    uses: tuple[Use, ...]
    """What clusters say."""

    def as_json(self) -> dict[str, Any]:
        """The same for ``--json``."""
        fact = self.fact
        return {
            "name": fact.name,
            "of": fact.of,
            "says": fact.says or None,
            "default": fact.default or None,
            "values": in_words(fact.values) if fact.values else None,
            "outside": fact.outside or None,
            "first": fact.first or None,
            "status": STATES[fact.status],
            "since": fact.since or None,
            "instead": fact.instead or None,
            "source": fact.source,
            "clusters": [asdict(use) | {"not_when": use.not_when or None} for use in self.uses],
        }


def explain(name: str, folders: Sequence[Path] = ()) -> Explanation:
    """What is known of ``name``.

    Raises:
        UsageError: if nothing is, with names that are near.
    """
    fact = known().get(name) or known().get(name.upper())
    if fact is None:
        close = near(name.upper())
        hint = f"did you mean {' or '.join(close)}?" if close else ""
        raise UsageError(Problem(code="unknown_variable", says=f"{name} is not known", hint=hint))
    return Explanation(fact=fact, uses=tuple(_uses(fact.name, folders)))


def _uses(name: str, folders: Sequence[Path]) -> Iterator[Use]:
    path = search_path(folders)
    for group in ("fabric", "cluster"):
        for option, file in path.options(group).items():
            data = read_yaml(file.read_text(encoding="utf-8")) or {}
            env = data if group == "fabric" else data.get("env") or {}
            fact = env.get(name)
            if isinstance(fact, dict):
                yield Use(
                    cluster=option,
                    value=str(fact.get("value", "")),
                    level=str(fact.get("level", "")),
                    why=str(fact.get("why", "")),
                    not_when=str(fact.get("not_when", "")),
                    source=str(fact.get("source", "")),
                )
