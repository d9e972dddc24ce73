"""Batches: many inputs, unattended, with nothing lost."""
