"""The client's side: a client of the store, the load, the checkers and the scenarios."""
