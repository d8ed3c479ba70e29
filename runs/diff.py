"""Two recipes side by side: which keys change the experiment, and which only map it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal, cast

from llmtrain.config.build import key_of
from llmtrain.config.recipe import Recipe
from llmtrain.config.yaml_reader import read_yaml

Label = Literal["experiment", "map"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Meaning:
    """What another value of a key means."""

    label: Label
    """experiment: another experiment; map: the same one, otherwise mapped."""
    why: str
    """What the key decides."""
    unless: str = ""
    """The rule by which a key that maps changes the experiment after all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One key that two recipes answer differently."""

    key: str
    """Dotted; an entry of names and values has its name behind it."""
    first: Any
    """In the first recipe; None: null, or not there."""
    second: Any
    """In the second."""
    label: Label
    """What that means for these two recipes."""
    why: str
    """What the key decides."""

    def as_json(self) -> dict[str, Any]:
        """The same for ``--json``."""
        return {
            "key": self.key,
            "a": self.first,
            "b": self.second,
            "label": self.label,
            "why": self.why,
        }


def differences(first: Recipe, second: Recipe) -> list[Difference]:
    """Every key that differs, those that change the experiment first."""
    was, now = dict(_flat(first, "")), dict(_flat(second, ""))
    names = [name for name in dict.fromkeys([*was, *now]) if was.get(name) != now.get(name)]
    found = [_difference(name, was.get(name), now.get(name), first, second) for name in names]
    return sorted(found, key=lambda each: each.label != "experiment")


def _difference(name: str, was: Any, now: Any, first: Recipe, second: Recipe) -> Difference:
    meaning = meaning_of(name)
    more = RULES[meaning.unless](first, second) if meaning.unless else ""
    return Difference(
        key=name,
        first=was,
        second=now,
        label="experiment" if more else meaning.label,
        why=more or meaning.why,
    )


def meaning_of(key: str) -> Meaning:
    """The label of a key, or of the names and values that it is one of.

    Raises:
        KeyError: if the table has no such key.
    """
    known, name = meanings(), key
    while name not in known and "." in name:
        name = name.rpartition(".")[0]
    return known[name]


@cache
def meanings() -> Mapping[str, Meaning]:
    """The table: recipe_keys.yaml."""
    text = files("llmtrain.runs").joinpath("data/recipe_keys.yaml").read_text(encoding="utf-8")
    return {
        key: _meaning(cast(Label, label), said)
        for label, entries in read_yaml(text).items()
        for key, said in entries.items()
    }


def _meaning(label: Label, said: str | dict[str, str]) -> Meaning:
    return Meaning(label=label, **(said if isinstance(said, dict) else {"why": said}))


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if is_dataclass(value):
        for field in fields(value):
            name = key_of(field.name)
            yield from _flat(getattr(value, field.name), f"{path}.{name}" if path else name)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield f"{path}.{name}", _fact(item)
    else:
        yield path, list(value) if isinstance(value, tuple) else value


def _fact(item: Any) -> Any:
    """Of a variable of a cluster what is exported, not the reasons."""
    return item.value if is_dataclass(item) and hasattr(item, "value") else item


def _padded_vocabulary(first: Recipe, second: Recipe) -> str:
    model = second.model
    sizes = [model.padded_vocab(each.parallel.tp) for each in (first, second)]
    if sizes[0] == sizes[1]:
        return ""
    return f"pads the vocabulary to {sizes[1]} instead of {sizes[0]} tokens"


def _balanced_experts(first: Recipe, second: Recipe) -> str:
    if not (first.model.experts and second.model.experts):
        return ""
    return "the loss that balances the experts is taken over a micro-batch"


RULES: Mapping[str, Callable[[Recipe, Recipe], str]] = {
    "padded_vocabulary": _padded_vocabulary,
    "balanced_experts": _balanced_experts,
}
"""When a key that maps changes the experiment: why it does, empty where it does not."""
