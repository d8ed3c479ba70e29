"""The project, measured."""
