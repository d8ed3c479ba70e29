"""Launches that others wrote, made into recipes."""
