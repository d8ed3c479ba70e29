"""What the reference trainer with DeepSpeed's engine cannot do yet: anything."""

from llmtrain.planner.limits import Limit

LIMITS = (
    Limit(
        key="backend.name",
        when=lambda recipe: True,
        why="the reference trainer has no DeepSpeed engine yet",
    ),
)
"""The reference trainer with DeepSpeed's engine."""
