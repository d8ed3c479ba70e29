"""The compute-optimal size by published scaling laws; each row names its law."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """What a law says of a budget."""

    law: str
    """Which, and where it was published."""
    parameters: float
    """Non-embedding ones for Kaplan, all for Chinchilla."""
    tokens: float
    """To train it on."""
    flops: float
    """6 x parameters x tokens."""


KAPLAN = "Kaplan et al. 2020, arXiv 2001.08361, figure 14: N = 1.3e9 (C / PF-day)^0.73"
CHINCHILLA = "Chinchilla: Hoffmann et al. 2022, arXiv 2203.15556, approach 1: 20 tokens a parameter"
PETAFLOP_DAY = 8.64e19


def kaplan(flops: float) -> Size:
    """N = 1.3e9 x (C / PF-day)^0.73 parameters (figure 14)."""
    parameters = 1.3e9 * (flops / PETAFLOP_DAY) ** 0.73
    return Size(law=KAPLAN, parameters=parameters, tokens=flops / (6.0 * parameters), flops=flops)


def chinchilla(flops: float) -> Size:
    """C = 6 N D with D = 20 N."""
    parameters = (flops / 120.0) ** 0.5
    return Size(law=CHINCHILLA, parameters=parameters, tokens=20.0 * parameters, flops=flops)


def of_tokens(tokens: float) -> tuple[Size, Size]:
    """The size for which so many tokens are right, by each law.

    Kaplan's D = C / 6N with N = 1.3e9 (C / PF-day)^0.73 is solved for C.
    """
    scale = 6.0 * 1.3e9 / PETAFLOP_DAY**0.73
    flops = (tokens * scale) ** (1.0 / 0.27)
    return kaplan(flops), chinchilla(6.0 * tokens * tokens / 20.0)


def of_flops(flops: float) -> tuple[Size, Size]:
    """The size for a budget of operations, by each law."""
    return kaplan(flops), chinchilla(flops)
