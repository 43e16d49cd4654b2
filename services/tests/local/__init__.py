"""Real processes on loopback, really killed."""
