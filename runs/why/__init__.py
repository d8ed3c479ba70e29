"""Why a run ended: the first failure among its logs, by patterns that are data."""
