"""One self-contained page from a run directory; it reads files and computes nothing."""
