"""The only modules that import the cloud libraries: sessions, limits of a session, retries, error wrapping."""
