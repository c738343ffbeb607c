"""Settings to start from."""
