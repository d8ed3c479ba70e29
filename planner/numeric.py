"""Arithmetic that reads the same for one layout and for an array of layouts.

Every formula of the step-time model is written with Python's operators and with these four
functions, so that a plan (Python numbers, NumPy never imported) and the search (NumPy arrays of
candidates) are one model.
"""

from typing import TypeAlias, cast

Quantity: TypeAlias = float
"""A number, or a NumPy array of them wherever the caller passed arrays."""


def largest(first: Quantity, *others: Quantity) -> Quantity:
    """The greatest, element by element."""
    for other in others:
        first = choose(other > first, other, first)
    return first


def smallest(first: Quantity, *others: Quantity) -> Quantity:
    """The least, element by element."""
    for other in others:
        first = choose(other < first, other, first)
    return first


def rounded_up(value: Quantity) -> Quantity:
    """The next whole number, element by element."""
    if isinstance(value, (int, float)):
        return -(-value // 1)
    import numpy

    return cast(Quantity, numpy.ceil(value))


def choose(condition: object, first: Quantity, second: Quantity) -> Quantity:
    """``first`` where ``condition`` holds, else ``second``, element by element."""
    if isinstance(condition, (bool, int, float)):
        return first if condition else second
    import numpy

    return cast(Quantity, numpy.where(cast(bool, condition), first, second))


def logarithm(value: Quantity) -> Quantity:
    """Base 2, element by element."""
    if isinstance(value, (int, float)):
        from math import log2

        return log2(value)
    import numpy

    return cast(Quantity, numpy.log2(value))
