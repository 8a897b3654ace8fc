"""Miniature networks in the real file layouts, and the small node folder that loads two of them."""
