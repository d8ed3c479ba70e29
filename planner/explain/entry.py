"""What the tables behind ``plan --explain`` are made of."""

from collections.abc import Callable
from typing import Any, TypeAlias

from llmtrain.planner.plan import Plan

Numbers: TypeAlias = dict[str, Any]
"""What went into a field, by what it is."""

Entry: TypeAlias = tuple[str, str, Callable[[Plan, str], Numbers]]
"""Formula, source, and what finds the numbers of a field."""
