"""Trains the miniature cast on the drawn world: ``python -m demo.training NAME``."""
