"""How everything stands: clusters, GPUs, cost, and what has drifted, looked at in parallel and bounded in time."""
