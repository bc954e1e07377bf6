"""Numerics on arrays: arrays in, arrays out; this layer knows nothing of files."""
