"""ISAC: equal-size K-means, stability, generations: short loops over alignment."""
