"""The operations side: what can be done to AWS and Kubernetes, knowing nothing of Slack."""
