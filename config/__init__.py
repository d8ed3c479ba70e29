"""What a recipe may say: a dataclass for each concern, composition, checks, layout, errors."""
