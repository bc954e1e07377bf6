"""Alignment: short loops over an engine."""
