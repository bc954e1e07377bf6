"""The engines: score every image against every reference, find poses, average classes."""
