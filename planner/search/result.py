"""What a search answers, as data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from llmtrain.planner.search.rank import Found, Objective, Offer
from llmtrain.planner.search.size import Size

SCHEMA = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """A search with what was asked."""

    recipe: str
    """Its name."""
    objective: Objective
    """What is least."""
    found: Found
    """The answer."""
    sizes: tuple[Size, ...] = ()
    """Compute-optimal sizes, where size was free."""


def why(found: Found, offer: Offer) -> dict[str, float]:
    """Seconds of a step that an offer saves against the recipe's own layout, by what they go to."""
    own: Mapping[str, float] = found.own.breakdown if found.own else {}
    return {
        key: float(own.get(key, 0.0)) - float(value) for key, value in offer.step.breakdown.items()
    }


def tuning_json(tuning: Tuning) -> dict[str, Any]:
    """The object of ``tune --json``."""
    found = tuning.found
    return {
        "schema": SCHEMA,
        "recipe": tuning.recipe,
        "least": tuning.objective,
        "own": {
            "step_seconds": float(found.own.seconds) if found.own else None,
            "launchable": found.own_fits,
        },
        "candidates": {"legal": found.legal, "pruned": found.pruned, "timed": found.timed},
        "offers": [_offer_json(found, offer) for offer in found.offers],
        "front": [_offer_json(found, offer) for offer in found.front],
        "sizes": [asdict(size) for size in tuning.sizes],
    }


def _offer_json(found: Found, offer: Offer) -> dict[str, Any]:
    good = offer.outlook.goodput if offer.outlook else None
    return {
        "overrides": list(offer.overrides),
        "gpus": offer.recipe.gpus,
        "step_seconds": float(offer.step.seconds),
        "breakdown": {key: float(value) for key, value in offer.step.breakdown.items()},
        "saves_seconds": why(found, offer),
        "days": good.days if good else None,
        "gpu_hours": good.gpu_hours if good else None,
        "price": good.price if good else None,
    }
