"""Weights that inject an identity into Wan, and the attention term by which they do it."""
