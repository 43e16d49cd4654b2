"""Tests: unit, http, local, simulation and scenarios; test_tidy checks the repository itself."""
