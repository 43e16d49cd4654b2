"""Each role over HTTP, without a group."""
