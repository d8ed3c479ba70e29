"""Plan, size and launch large-language-model training."""

__version__ = "0.1.0"
