"""Runs: the plan, the working stack, the one loop with its checkpoints."""
