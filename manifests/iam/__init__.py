"""CloudFormation templates of the IAM roles in the management account and in the accounts that are onboarded."""
