"""A node against what its cluster promises: read, judge, say what to do."""
