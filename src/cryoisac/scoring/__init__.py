"""Score a classification against the truth of a simulation."""
