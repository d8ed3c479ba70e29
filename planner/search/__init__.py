"""All legal layouts of a recipe: made, pruned by memory, timed as arrays, ranked."""
