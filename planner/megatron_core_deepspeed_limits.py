"""What the reference trainer cannot do with DeepSpeed's engine: what it refuses itself."""

from llmtrain.config.reference_deepspeed import MISSING

LIMITS = MISSING
"""The reference trainer with DeepSpeed's engine."""
