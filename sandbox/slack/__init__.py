"""A Slack workspace on one machine, harsher than Slack, for real Slack apps to run against."""
