//! The memory tier in use and the near cache that keeps it coherent with the truth behind it.
