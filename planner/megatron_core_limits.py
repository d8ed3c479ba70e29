"""What the reference trainer cannot do: what it refuses itself."""

from llmtrain.config.reference import MISSING
from llmtrain.planner.limits import Limit

LIMITS = tuple(
    Limit(key=missing.key, when=missing.when, why=missing.why, overrides=missing.overrides)
    for missing in MISSING
)
"""The reference trainer."""
