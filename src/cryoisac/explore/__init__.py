"""A look at the images of a finished classification: what they vary in, and how alignment parts the classes."""
