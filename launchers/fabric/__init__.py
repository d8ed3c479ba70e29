"""Environment variables of the fabric: what is known of them, and what is wrong with a setting."""
