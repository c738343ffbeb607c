"""CloudFormation for stacks of IAM resources. The emulator's own reports updates of roles that it does not make."""
