"""The NVIDIA GPU operator and node feature discovery as objects, with `$name` where a value stands."""
