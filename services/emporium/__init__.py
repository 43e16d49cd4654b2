"""Emporium: an online store whose own services are replicated, with proof."""
