"""What a field of the plan means here: formula, source, and the numbers that went in."""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from llmtrain.config.errors import Problem, UsageError
from llmtrain.planner.explain_fields import FIELDS
from llmtrain.planner.plan import Plan, plan_json


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """One field of a plan."""

    field: str
    """As in ``plan --json``."""
    value: Any
    """What the plan says."""
    formula: str
    """How it is found."""
    source: str
    """Where the formula was read."""
    numbers: dict[str, Any]
    """What went in."""


def explanation(plan: Plan, field: str) -> Explanation:
    """Explain ``field``, a dotted key of ``plan --json`` (``stages.0.memory.weights``).

    Raises:
        UsageError: if the plan has no such field, or none that needs explaining.
    """
    name = _explained(field)
    if name is None:
        raise _unknown(field, list(FIELDS))
    value = _value(plan, field)
    formula, source, found = FIELDS[name]
    return Explanation(
        field=field, value=value, formula=formula, source=source, numbers=found(plan, field)
    )


def _explained(field: str) -> str | None:
    """The longest entry that is the field, or of which it is a part."""
    parts = field.split(".")
    # A number picks one of a list: the entry has none.
    plain = [part for part in parts if not part.isdigit()]
    prefixes = (".".join(plain[:length]) for length in range(len(plain), 0, -1))
    return next((prefix for prefix in prefixes if prefix in FIELDS), None)


def _value(plan: Plan, field: str) -> Any:
    value: Any = plan_json(plan)
    for part in field.split("."):
        if isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, (dict, list)):
            known = [*value] if isinstance(value, dict) else [str(n) for n in range(len(value))]
            raise _unknown(field, known)
        else:
            raise _unknown(field, list(FIELDS))
    return value


def _unknown(field: str, known: list[str]) -> UsageError:
    close = get_close_matches(field.rpartition(".")[2] or field, known, n=3, cutoff=0.4)
    close = close or get_close_matches(field, known, n=3, cutoff=0.4)
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    hint = f"{meant}known: {', '.join(known)}"
    return UsageError(Problem(code="unknown_field", says=f"no field {field!r}", hint=hint))
