"""What happens after submit: run folders, their state, following, stopping, resuming."""
