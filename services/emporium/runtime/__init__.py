"""The only room of the roles that touches the world: sockets, files, threads, clocks."""
