"""Find what says the same: speech and text aligned in a shared space, by margins of neighbours."""
