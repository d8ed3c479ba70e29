"""The fields of a plan: formula, source, and what went in. All tables together."""

from llmtrain.planner.explain.cost_fields import COST
from llmtrain.planner.explain.entry import Entry
from llmtrain.planner.explain.layout import LAYOUT
from llmtrain.planner.explain.memory_fields import MEMORY
from llmtrain.planner.explain.step_fields import STEP

FIELDS: dict[str, Entry] = {**LAYOUT, **MEMORY, **STEP, **COST}
"""By key of ``plan --json``, list positions left out: formula, source, and what went in."""
