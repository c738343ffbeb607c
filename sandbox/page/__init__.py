"""The workspace's web page: one HTML file, read as package data."""
