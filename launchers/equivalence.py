"""One recipe on every backend: the same, approximated or impossible, why, and in which numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from llmtrain.config.change import as_overrides, changed
from llmtrain.config.errors import LlmtrainError, Problem, RecipeError
from llmtrain.config.recipe import Recipe
from llmtrain.launchers.backends import BACKENDS, program
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
    numbers: Mapping[str, float | None]
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
    there = _moved(recipe, name, version, approximate=False)
    problems = inexpressible(there)
    nearly: tuple[Problem, ...] = ()
    if problems:
        approximate = _moved(recipe, name, version, approximate=True)
        left = inexpressible(approximate)
        if not left:
            nearly, there, problems = approximated(approximate), approximate, ()
    missing, differs = ((), ()) if problems else _rendered(there)
    problems = problems + missing
    mended = _mended(there, problems) if problems else None
    return Equivalent(
        backend=name,
        version=version,
        own=own,
        verdict="impossible" if problems else "approximated" if nearly else "same",
        reasons=problems or nearly,
        differs=differs,
        mended=mended[0] if mended else (),
        numbers=_numbers(mended[1] if mended else there) if mended or not problems else _unknown(),
    )


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


def _rendered(recipe: Recipe) -> tuple[tuple[Problem, ...], tuple[str, ...]]:
    """Flags that the version lacks, and what the program says of itself."""
    plan = _plan(recipe)
    if plan is None or recipe.backend.name not in BACKENDS:
        return (), ()
    # That it does not fit is another matter: the arguments say the same.
    fitting = _without_errors(plan)
    try:
        found = program(fitting)
    except LlmtrainError as error:
        return error.problems, ()
    accepted = {problem.message for problem in approximated(recipe)}
    needed = tuple(f"needs `{key}`" for key in found.missing if key != "backend.path")
    return (), (*(text for text in found.warnings if text not in accepted), *needed)


def _without_errors(plan: Plan) -> Plan:
    from dataclasses import replace

    return replace(plan, errors=())


def _mended(recipe: Recipe, problems: tuple[Problem, ...]) -> tuple[tuple[str, ...], Recipe] | None:
    """All repairs that the limits offer, together, where they leave nothing impossible."""
    repairs = [repair for problem in problems for repair in problem.repairs[:1]]
    overrides = {word for repair in repairs for word in repair.overrides}
    if not overrides:
        return None
    changes = dict(word.partition("=")[::2] for word in sorted(overrides))
    try:
        mended = changed(recipe, {key: _value(text) for key, text in changes.items()})
    except (RecipeError, KeyError):
        return None
    if inexpressible(mended) or _plan(mended) is None or _rendered(mended)[0]:
        return None
    return as_overrides({key: _value(text) for key, text in changes.items()}), mended


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.lstrip("-").isdigit() else text


def _plan(recipe: Recipe) -> Plan | None:
    try:
        return make_plan(recipe)
    except RecipeError:
        return None


def _numbers(recipe: Recipe) -> dict[str, float | None]:
    plan = _plan(recipe)
    if plan is None:
        return _unknown()
    speed = plan.speed
    return {
        "peak_memory_bytes": plan.peak_memory_bytes,
        "step_seconds": speed.step_seconds if speed else None,
        "parameters": plan.total_parameters,
    }


def _unknown() -> dict[str, float | None]:
    return {"peak_memory_bytes": None, "step_seconds": None, "parameters": None}
