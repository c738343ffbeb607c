"""Files that are shipped with the bot."""
