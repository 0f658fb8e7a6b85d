"""What the observability agent knows and decides: plain Python, no Ray, no sockets, no clock."""
