"""What a field of the plan means here: formula, source, and the numbers that went in."""

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from llmtrain.config.errors import Problem, UsageError
from llmtrain.planner.explain.fields import FIELDS
from llmtrain.planner.plan import Plan, plan_json, worst_stage


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


TOP = [field for field in FIELDS if "." not in field]
"""Fields that are no part of another."""


def explanation(plan: Plan, field: str) -> Explanation:
    """Explain ``field``, a dotted key of ``plan --json`` (``stages.0.memory.weights``).

    Without its number a stage is the worst one, another place of a list the first; the
    explanation's ``field`` says which.

    Raises:
        UsageError: if the plan has no such field.
    """
    name = _explained(field)
    if name is None:
        raise _unknown(field, TOP)
    numbered = _numbered(plan, field)
    formula, source, found = FIELDS[name]
    value, numbers = _value(plan, numbered), found(plan, numbered)
    if numbered != field:
        numbers = {
            field: "the worst stage's" if field.startswith("stages") else "the first"
        } | numbers
    return Explanation(field=numbered, value=value, formula=formula, source=source, numbers=numbers)


def _plain(field: str) -> str:
    """A number picks one of a list: the table has none."""
    return ".".join(part for part in field.split(".") if not part.isdigit())


def _explained(field: str) -> str | None:
    """The longest entry that is the field, or of which it is a part."""
    parts = _plain(field).split(".")
    prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in FIELDS), None)


def _numbered(plan: Plan, field: str) -> str:
    """The field with the place in its list, where it names a part of what lies there."""
    first, _, rest = field.partition(".")
    is_list = isinstance(plan_json(plan).get(first), list)
    if not is_list or not rest or rest.partition(".")[0].isdigit():
        return field
    return f"{first}.{worst_stage(plan).number if first == 'stages' else 0}.{rest}"


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
        elif value is None and _plain(field) in FIELDS:
            return None  # a part of what is not known
        else:
            raise _unknown(field, TOP)
    return value


def _unknown(field: str, known: list[str]) -> UsageError:
    close = get_close_matches(_plain(field), FIELDS, n=3, cutoff=0.6)
    close = close or get_close_matches(field.rpartition(".")[2], known, n=3, cutoff=0.4)
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    hint = f"{meant}known: {', '.join(known)}" if known else "this plan has none"
    return UsageError(Problem(code="unknown_field", says=f"no field {field!r}", hint=hint))
