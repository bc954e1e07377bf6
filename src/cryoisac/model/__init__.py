"""What is known of images, as values: poses, CTF parameters, tables, particles, classes, the ledger."""
