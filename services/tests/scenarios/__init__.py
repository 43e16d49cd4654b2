"""The scenarios themselves, tested on a pretended store."""
