"""The contract: what a Kubernetes API server does, asked of a real kube-apiserver and of the sandbox's."""
