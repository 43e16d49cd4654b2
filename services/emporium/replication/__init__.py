"""The replication protocol, pure: one core, one replicated log, modes as policies."""
