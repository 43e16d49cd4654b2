"""One part each, in memory."""
