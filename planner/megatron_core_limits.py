"""What the reference trainer cannot do: what it refuses itself."""

from llmtrain.config.reference import MISSING

LIMITS = MISSING
"""The reference trainer with megatron-core's own engine."""
