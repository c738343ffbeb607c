"""A whole world on one machine: a Slack workspace with a web page, and AWS. Speaks HTTP and WebSocket only."""
