"""What is called from Python: arrays in, arrays out. Its names are those of ``cryoisac`` itself."""
