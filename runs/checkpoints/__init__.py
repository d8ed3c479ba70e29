"""What lies in a checkpoint, read from its own metadata, and whether a recipe can go on from it."""
