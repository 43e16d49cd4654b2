"""The cache role, and the rule that everybody follows who keeps copies of items."""
