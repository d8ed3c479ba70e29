"""Ranks that compute longer than the others of their stage, step after step."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from llmtrain.config.watch import Straggler
from llmtrain.trainer.places import Place


@dataclass(frozen=True, kw_only=True, slots=True)
class Slow:
    """A rank that is slow."""

    rank: int
    """Its number."""
    node: str
    """Its node."""
    seconds: float
    """What it computes in a step, the median of the last ones."""
    usual_seconds: float
    """The same of the others of its stage, their median."""


class Stragglers:
    """Compares the ranks of each stage with each other."""

    def __init__(self, rules: Straggler, places: Sequence[Place]) -> None:
        """Nothing was seen yet."""
        self._rules, self._places = rules, places
        self._seen: deque[Sequence[float]] = deque(maxlen=rules.window)
        self._named: set[int] = set()

    def look(self, compute_seconds: Sequence[float]) -> list[Slow]:
        """Take in a step; the ranks that are slow now and were not before."""
        self._seen.append(compute_seconds)
        if len(self._seen) < self._rules.window:
            return []
        usual = [median(seconds) for seconds in zip(*self._seen, strict=True)]
        slow = [found for rank in range(len(usual)) if (found := self._of(rank, usual))]
        new = [each for each in slow if each.rank not in self._named]
        self._named = {each.rank for each in slow}
        return new

    def _of(self, rank: int, usual: Sequence[float]) -> Slow | None:
        place = self._places[rank]
        others = [
            usual[other]
            for other, each in enumerate(self._places)
            if other != rank and each.stage == place.stage
        ]
        if not others or usual[rank] <= self._rules.factor * median(others):
            return None
        return Slow(rank=rank, node=place.node, seconds=usual[rank], usual_seconds=median(others))
