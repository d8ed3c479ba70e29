"""What a field of the plan means: ``plan --explain``."""
