"""Whether a value is one that a variable may have."""

import re

TRUE_OR_FALSE = ("0", "1", "y", "n", "yes", "no", "t", "f", "true", "false")
"""What torch and libfabric read as a flag."""

_RANGE = re.compile(r"(-?\d+)?\.\.(-?\d+)?")


def may_be(value: str, allowed: str) -> bool:
    """Whether ``value`` is within ``allowed``, as ``variables.csv`` writes it."""
    value = value.strip()
    if not allowed or value == "":
        return True
    if allowed == "bool":
        return value.lower() in TRUE_OR_FALSE
    if allowed == "int":
        return number(value) is not None
    if allowed.startswith("list:"):
        words = allowed.removeprefix("list:").lower().split("|")
        return all(word.strip().lower() in words for word in value.lstrip("^").split(","))
    return any(_is(value, each) for each in allowed.split("|"))


def number(value: str) -> int | None:
    """A whole number as C reads it: decimal, octal or hexadecimal."""
    if not re.fullmatch(r"[+-]?(0x[0-9a-fA-F]+|\d+)", value):
        return None
    return int(value, 16) if "x" in value.lower() else int(value)


def in_words(allowed: str) -> str:
    """``allowed`` for a person."""
    if allowed == "bool":
        return "0 or 1"
    if allowed == "int":
        return "a whole number"
    if allowed.startswith("list:"):
        return f"a list of {', '.join(allowed.removeprefix('list:').split('|'))}"
    return " or ".join(_range_in_words(each) for each in allowed.split("|"))


def _range_in_words(allowed: str) -> str:
    found = _RANGE.fullmatch(allowed)
    if found is None:
        return allowed
    low, high = found.groups()
    return f"{low} to {high}" if low and high else f"{low} or more" if low else f"up to {high}"


def _is(value: str, allowed: str) -> bool:
    found = _RANGE.fullmatch(allowed)
    if found is None:
        return value.lower() == allowed.lower()
    got = number(value)
    if got is None:
        return False
    low, high = found.groups()
    return (not low or got >= int(low)) and (not high or got <= int(high))
