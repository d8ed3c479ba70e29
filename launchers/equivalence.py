"""One recipe on every backend: the same, approximated or impossible, why, and in which numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from llmtrain.config.change import as_overrides, changed
from llmtrain.config.errors import LlmtrainError, Problem, RecipeError
from llmtrain.config.recipe import Recipe
from llmtrain.launchers.backends import program
from llmtrain.planner.expressible import LIMITS, approximated, inexpressible
from llmtrain.planner.limits import VERSIONS
from llmtrain.planner.plan import Plan, make_plan

Verdict = Literal["same", "approximated", "impossible"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Equivalent:
    """A recipe on one version of one backend."""

    backend: str
    """Name of the backend."""
    version: str | None
    """Its version; None: it has none."""
    own: bool
    """It is the one that the recipe names."""
    verdict: Verdict
    """same: all that the recipe says is done; approximated: with ``backend.approximate=true``."""
    reasons: tuple[Problem, ...]
    """What cannot be done, or only nearly."""
    differs: tuple[str, ...]
    """What the program counts or does otherwise though it says the same."""
    mended: tuple[str, ...]
    """Overrides that only map the experiment and make it possible; empty: there are none."""
    numbers: Mapping[str, float | bool | None]
    """Memory and time of the plan, those of the mended one where it is impossible."""

    def as_json(self) -> dict[str, Any]:
        """The same for ``--json``."""
        return {
            "backend": self.backend,
            "version": self.version,
            "own": self.own,
            "verdict": self.verdict,
            "reasons": [reason.as_json() for reason in self.reasons],
            "differs": list(self.differs),
            "mended_by": list(self.mended),
            **self.numbers,
        }


def equivalents(recipe: Recipe) -> tuple[Equivalent, ...]:
    """``recipe`` on every backend and every version that is known, its own first."""
    own = recipe.backend
    named = [(own.name, own.version or VERSIONS.get(own.name, (None,))[0])]
    others = [(name, version) for name in LIMITS for version in VERSIONS.get(name, (None,))]
    pairs = named + [pair for pair in others if pair != named[0]]
    return tuple(
        _on(recipe, name, version, pair == 0) for pair, (name, version) in enumerate(pairs)
    )


def _on(recipe: Recipe, name: str, version: str | None, own: bool) -> Equivalent:
    there, problems, nearly = _asked(recipe, name, version)
    plan, broken = _plan(there)
    problems += broken
    missing, differs = ((), ()) if problems or plan is None else _rendered(plan)
    problems += missing
    mended = _mended(there, problems) if problems else None
    return Equivalent(
        backend=name,
        version=version,
        own=own,
        verdict="impossible" if problems else "approximated" if nearly else "same",
        reasons=problems or nearly,
        differs=differs,
        mended=mended[0] if mended else (),
        numbers=_numbers(mended[1] if mended else None if problems else plan),
    )


def _asked(
    recipe: Recipe, name: str, version: str | None
) -> tuple[Recipe, tuple[Problem, ...], tuple[Problem, ...]]:
    """The recipe there, what cannot be expressed, and what would only be approximated."""
    there = _moved(recipe, name, version, approximate=False)
    problems = inexpressible(there)
    near = _moved(recipe, name, version, approximate=True)
    if problems and not inexpressible(near):
        return near, (), approximated(near)
    return there, problems, approximated(there)


def _moved(recipe: Recipe, name: str, version: str | None, *, approximate: bool) -> Recipe:
    path = recipe.backend.path if name == recipe.backend.name else None
    return changed(
        recipe,
        {
            "backend.name": name,
            "backend.version": version,
            "backend.path": path,
            "backend.approximate": approximate or recipe.backend.approximate,
        },
    )


def _rendered(plan: Plan) -> tuple[tuple[Problem, ...], tuple[str, ...]]:
    """Flags that the version lacks, and what the program says of itself."""
    try:
        # That it does not fit is another matter: the arguments say the same.
        found = program(replace(plan, errors=()))
    except LlmtrainError as error:
        return error.problems, ()
    accepted = {problem.message for problem in approximated(plan.recipe)}
    needed = tuple(f"needs `{key}`" for key in found.missing if key != "backend.path")
    return (), (*(text for text in found.warnings if text not in accepted), *needed)


def _mended(recipe: Recipe, problems: tuple[Problem, ...]) -> tuple[tuple[str, ...], Plan] | None:
    """All repairs that the limits offer, together, where they leave nothing impossible."""
    repairs = [repair for problem in problems for repair in problem.repairs[:1]]
    overrides = {word for repair in repairs for word in repair.overrides}
    if not overrides:
        return None
    pairs = (word.partition("=")[::2] for word in sorted(overrides))
    changes = {key: _value(text) for key, text in pairs}
    try:
        mended = changed(recipe, changes)
    except (RecipeError, KeyError):
        return None
    plan = None if inexpressible(mended) else _plan(mended)[0]
    if plan is None or _rendered(plan)[0]:
        return None
    return as_overrides(changes), plan


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.lstrip("-").isdigit() else text


def _plan(recipe: Recipe) -> tuple[Plan | None, tuple[Problem, ...]]:
    try:
        return make_plan(recipe), ()
    except RecipeError as error:
        return None, error.problems


def _numbers(plan: Plan | None) -> dict[str, float | bool | None]:
    speed = plan.speed if plan else None
    return {
        "peak_memory_bytes": plan.peak_memory_bytes if plan else None,
        "fits": None if plan is None or plan.verdict is None else plan.verdict != "no",
        "step_seconds": speed.step_seconds if speed else None,
        "parameters": plan.total_parameters if plan else None,
    }
