"""Files in and out; this layer knows formats and nothing of numerics."""
