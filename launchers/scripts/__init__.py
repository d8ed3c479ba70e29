"""Launch scripts that others wrote, read without running them."""
