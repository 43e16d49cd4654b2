"""The orders: exactly one for each sale of the ledger."""
