"""How leases and results move between consumer and workers."""
