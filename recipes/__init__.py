"""What to train and where: YAML only."""
