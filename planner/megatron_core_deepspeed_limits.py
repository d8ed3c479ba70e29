"""What the reference trainer cannot do with DeepSpeed's engine: what it refuses itself."""

from llmtrain.config.reference import SHARED
from llmtrain.config.reference_deepspeed import MISSING
from llmtrain.planner.limits import limits_of

LIMITS = limits_of((*SHARED, *MISSING))
"""The reference trainer with DeepSpeed's engine."""
