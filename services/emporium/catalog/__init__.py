"""The catalog: items, stock, and the ledger of all sales."""
