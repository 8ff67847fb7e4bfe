"""A network's file in another precision or format: bytes in, bytes out. Shared by exporters, runtimes and timing."""
