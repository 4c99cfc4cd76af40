"""Linux networking without dependencies, since the supervisor runs without any: namespaces, packet filters, sockets."""
