"""Where the tokens come from, and on which of them the loss is only measured."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from llmtrain.config.checks import at_least, positive, require
from llmtrain.config.errors import Problem


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """The loss on tokens that are not trained on."""

    interval: int | None = None
    """Steps between two validations; one more follows the last step. Null: none."""
    batches: int = 10
    """Global batches of one validation."""
    paths: tuple[str, ...] = ()
    """Prefixes of .bin/.idx pairs that are kept for it, so that all of `data.paths` are trained
    on; empty: its share of `data.split`."""
    weights: tuple[float, ...] | None = None
    """How often each of these is drawn from; null: by size."""

    def __post_init__(self) -> None:
        require(
            at_least("interval", self.interval, 1),
            at_least("batches", self.batches, 1),
            *(positive("weights", weight) for weight in self.weights or ()),
            _weights_problem(self.paths, self.weights),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """Where the tokens come from."""

    kind: Literal["stdlib", "indexed", "mock"] = "mock"
    """stdlib: the sources of the Python standard library as bytes; indexed: Megatron's
    .bin/.idx files; mock: made-up tokens."""
    paths: tuple[str, ...] = ()
    """Prefixes of .bin/.idx pairs (kind indexed)."""
    weights: tuple[float, ...] | None = None
    """How often each path is drawn from; null: by size."""
    tokenizer: str | None = None
    """Path or name of the tokenizer; null: tokens are bytes."""
    split: tuple[float, float, float] = (0.98, 0.02, 0.0)
    """Shares of training, validation and test; without meaning where `data.validation.paths`
    are given."""
    cache: str | None = None
    """Where prepared files and indices are kept; null: the user's cache folder."""
    validation: Validation = field(default_factory=Validation)

    def __post_init__(self) -> None:
        require(
            *(at_least("split", share, 0) for share in self.split),
            *(positive("weights", weight) for weight in self.weights or ()),
            positive("split", sum(self.split)),
            self._paths_problem() or _weights_problem(self.paths, self.weights),
            *self._validation_problems(),
        )

    def _paths_problem(self) -> Problem | None:
        if self.kind != "indexed" or self.paths:
            return None
        says = "is needed with `data.kind=indexed`"
        return Problem(code="missing", key="paths", says=says)

    def _validation_problems(self) -> Iterator[Problem]:
        held = self.validation
        if held.paths and self.kind != "indexed":
            says = f"are .bin/.idx pairs, but `data.kind={self.kind}`"
            yield Problem(code="conflict", key="validation.paths", says=says)
        if held.interval and not held.paths and self.kind != "mock" and not self.split[1]:
            says = f"= {held.interval}, but there is nothing to validate on"
            hint = "give a share in `data.split`, or `data.validation.paths`"
            yield Problem(code="conflict", key="validation.interval", says=says, hint=hint)


def _weights_problem(paths: tuple[str, ...], weights: tuple[float, ...] | None) -> Problem | None:
    if weights is None or len(weights) == len(paths):
        return None
    says = f"has {len(weights)} numbers for {len(paths)} paths"
    return Problem(code="wrong_length", key="weights", says=says)
