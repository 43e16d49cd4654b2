"""This machine: every role as a process on loopback, and the `emporium` command."""
