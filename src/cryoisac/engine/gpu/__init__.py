"""The engines in PyTorch, for GPUs. Every module in here but this one needs torch, and none else imports it."""
