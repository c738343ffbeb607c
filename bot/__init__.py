"""The chat side: takes requests, asks for approval, runs plans durably and tells the thread."""
