"""Plan to launch to job."""
