"""What runs inside a workload cluster: scheduler, kubelets, controllers of pods and jobs, and NVIDIA's GPU operator.

Everything here reads and writes the objects of one API server; nothing gets ready without its cause there.
"""
