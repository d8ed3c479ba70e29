"""The small checks that every concern makes of its own fields."""

from collections.abc import Iterable, Iterator

from llmtrain.config.errors import Problem, RecipeError


def require(*findings: Problem | None) -> None:
    """Raise one :class:`RecipeError` with all findings that are not None."""
    problems = tuple(finding for finding in findings if finding is not None)
    if problems:
        raise RecipeError(problems)


def at_least(key: str, value: float | None, minimum: float) -> Problem | None:
    """A problem where ``value`` is below ``minimum``; None counts as not given."""
    if value is None or value >= minimum:
        return None
    return Problem(
        code="out_of_range", key=key, says=f"must be at least {minimum:g}, not {_shown(value)}"
    )


def positive(key: str, value: float | None) -> Problem | None:
    """A problem where ``value`` is not above zero; None counts as not given."""
    if value is None or value > 0:
        return None
    return Problem(code="out_of_range", key=key, says=f"must be above 0, not {_shown(value)}")


def fraction(key: str, value: float | None) -> Problem | None:
    """A problem where ``value`` is outside 0 to 1; None counts as not given."""
    return between(key, value, 0, 1)


def between(key: str, value: float | None, least: float, most: float) -> Problem | None:
    """A problem where ``value`` is outside ``least`` to ``most``; None counts as not given."""
    if value is None or least <= value <= most:
        return None
    says = f"must lie between {least:g} and {most:g}, not {_shown(value)}"
    return Problem(code="out_of_range", key=key, says=says)


def _shown(value: float) -> str:
    """A whole number with all its digits."""
    return str(value) if isinstance(value, int) else f"{value:g}"


def divides(key: str, divisor: int, value: int, what: str) -> Problem | None:
    """A problem where ``divisor`` does not divide ``value``, which ``what`` names."""
    if divisor >= 1 and value % divisor == 0:
        return None
    return Problem(
        code="not_divisible", key=key, says=f"= {divisor} does not divide {what} = {value}"
    )


def variable_names(names: Iterable[str]) -> Iterator[Problem]:
    """A problem for each of ``names``, those of ``env``, that no variable can have."""
    for name in names:
        if not (name.isascii() and name.isidentifier()):
            says = f"has {name!r}, which is no name of an environment variable"
            hint = "letters, digits and `_`, no digit at the beginning"
            yield Problem(code="invalid_name", key="env", says=says, hint=hint)


def known(key: str, values: Iterable[str], valid: Iterable[str]) -> Problem | None:
    """A problem where one of ``values`` is not in ``valid``."""
    allowed = tuple(valid)
    unknown = [value for value in values if value not in allowed]
    if not unknown:
        return None
    return Problem(
        code="invalid_choice",
        key=key,
        says=f"does not know {', '.join(repr(value) for value in unknown)}",
        hint=f"valid: {', '.join(allowed)}",
    )
