"""Recipe to plan: pure arithmetic."""
