"""GPUs in workload clusters."""
