"""What the reference trainer cannot do: what it refuses itself."""

from llmtrain.config.reference import MISSING
from llmtrain.planner.limits import limits_of

LIMITS = limits_of(MISSING)
"""The reference trainer with megatron-core's own engine."""
