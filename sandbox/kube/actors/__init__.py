"""The controllers of a management cluster: the Cluster API, its AWS provider, and what runs in a workload cluster.

They act on the API server's objects and, through the gate, on AWS; nothing becomes ready without its cause there.
"""
