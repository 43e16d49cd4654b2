"""The frontend role: the public API, the page, and how purchases and reads find their replica."""
