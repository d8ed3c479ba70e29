"""Mistakes in what composes a recipe: what each was meant to be, and what else is wrong then."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice, product
from typing import TypeAlias

from hydra.core.override_parser.types import Override

from llmtrain.config.change import as_overrides
from llmtrain.config.composition import Composition
from llmtrain.config.errors import Problem, Repair
from llmtrain.config.overrides import key, parse_arguments
from llmtrain.config.recipe import Recipe
from llmtrain.config.repairs import Judge, mending, with_repairs
from llmtrain.config.rules import violations

DECISIVE = ("model", "cluster", "backend", "site")
"""Groups without which no rule can be judged."""

GUESSES = 4
"""Readings of a command line with mistakes for which a valid recipe is looked for."""

Meaning: TypeAlias = tuple[tuple[Override, ...], Repair]
"""Overrides that are taken away, and what was probably meant by them."""


def answered(composition: Composition, problems: Sequence[Problem], judge: Judge) -> list[Problem]:
    """The problems with what leaves a valid recipe, and the rules that are broken besides.

    Where nothing mends all of it from one problem's place, what does stands with the first.
    """
    mistakes = _Mistakes(composition, judge)
    repaired = [mistakes.repaired(problem) for problem in problems]
    if not any(problem.repairs for problem in repaired):
        repaired[0] = replace(repaired[0], repairs=mistakes.together(problems))
    return [*repaired, *mistakes.hidden(problems)]


class _Mistakes:
    """What is wrong with one command line."""

    def __init__(self, composition: Composition, judge: Judge) -> None:
        self._composition = composition
        self._overrides = composition.overrides
        self._judge = judge

    def repaired(self, problem: Problem) -> Problem:
        """``problem`` with what leaves a valid recipe: its own repairs, another command line."""
        tried = self._meanings(problem)
        found = [repair for gone, repair in tried if self._mends(self._without(gone), repair)]
        once = {repair.overrides: repair for repair in reversed(found)}
        return replace(problem, repairs=tuple(reversed(once.values()))[:3])

    def together(self, problems: Sequence[Problem]) -> tuple[Repair, ...]:
        """What mends them all: each as it was probably meant, and then the rules."""
        options = [list(islice(self._meanings(problem), 2)) for problem in problems]
        tried = (self._completed(meant) for meant in islice(product(*options), GUESSES))
        return next((offers for offers in tried if offers), ())

    def _completed(self, meant: Sequence[Meaning]) -> tuple[Repair, ...]:
        others = self._without([override for gone, _ in meant for override in gone])
        texts = [text for _, repair in meant for text in repair.overrides]
        recipe = self._built(others, texts)
        if recipe is None:
            return ()
        broken = with_repairs(recipe, violations(recipe), self._judge)
        offers = next((each.repairs for each in broken if each.repairs), ())
        tried = [_followed(texts, offer) for offer in offers or (Repair(overrides=()),)]
        return tuple(repair for repair in tried if self._mends(others, repair))

    def hidden(self, problems: Sequence[Problem]) -> list[Problem]:
        """The rules that are broken whatever was meant where ``problems`` are."""
        unclear = {problem.key for problem in problems if problem.code != "unknown_key"}
        if any(name.partition(".")[0] in DECISIVE for name in unclear):
            return []
        clear = [problem for problem in problems if problem.key not in unclear]
        said = [(p.key, repair) for p in clear for _, repair in islice(self._meanings(p), 1)]
        # What was said of another name is found there.
        places = {text: at for at, repair in said for text in repair.overrides}
        blamed = [override for problem in problems for override in self._blamed(problem)]
        recipe = self._built(self._without(blamed), list(places))
        if recipe is None:
            return []
        at = {text.partition("=")[0]: place for text, place in places.items()}
        broken = [each for each in violations(recipe) if not unclear & mending(recipe, each.code)]
        return [replace(p, at=at.get(p.at or p.key, p.at or p.key)) for p in broken]

    def _meanings(self, problem: Problem) -> Iterator[Meaning]:
        yield from (((), repair) for repair in problem.repairs)
        for override in self._blamed(problem):
            yield from (((override,), repair) for repair in self._instead(override, problem))

    def _blamed(self, problem: Problem) -> list[Override]:
        """The overrides of its key; where there is none, those of the same group."""
        keys = {key(override): override for override in self._overrides}
        at = [o for name, o in keys.items() if f"{problem.key}.".startswith(f"{name}.")]
        group = problem.key.partition(".")[0]
        return at or [o for name, o in keys.items() if name.startswith(f"{group}.")]

    def _instead(self, override: Override, problem: Problem) -> Iterator[Repair]:
        meant = _quoted(problem.hint.partition("?")[0]) if "Did you mean" in problem.hint else []
        value = str(override.input_line).partition("=")[2]
        for text in meant:
            if problem.code == "unknown_key":
                yield Repair(overrides=(f"{text}={value}",))
            elif problem.code == "invalid_choice":
                yield Repair(overrides=(f"{problem.key}={text}",))
            else:
                yield Repair(overrides=(text,))
        yield from self._own_value(override)

    def _own_value(self, override: Override) -> Iterator[Repair]:
        value = self._composition.value(key(override), self._without((override,)))
        if isinstance(value, (int, float, str, bool)):
            whole = isinstance(value, float) and value.is_integer()  # 270e9 is a count
            own = as_overrides({key(override): int(value) if whole else value})
            yield Repair(overrides=own, why="the recipe's own value")

    def _without(self, gone: Sequence[Override]) -> list[Override]:
        return [each for each in self._overrides if all(each is not other for other in gone)]

    def _built(self, others: Sequence[Override], texts: Sequence[str]) -> Recipe | None:
        return self._composition.built([*others, *parse_arguments(texts).overrides])

    def _mends(self, others: Sequence[Override], repair: Repair) -> bool:
        recipe = self._built(others, repair.overrides)
        return recipe is not None and self._judge.accepts(recipe)


def _quoted(text: str) -> list[str]:
    return text.split("`")[1::2]


def _followed(texts: Sequence[str], repair: Repair) -> Repair:
    """``texts``, and then a repair, which has the last word on its keys."""
    later = {text.partition("=")[0] for text in repair.overrides}
    first = [text for text in texts if text.partition("=")[0] not in later]
    return replace(repair, overrides=(*first, *repair.overrides))
