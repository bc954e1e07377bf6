"""Ground truth: particles whose class and pose are known."""
