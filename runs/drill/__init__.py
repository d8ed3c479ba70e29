"""A rehearsal: the time limit, killed ranks, a requeue, and the resume after each."""
