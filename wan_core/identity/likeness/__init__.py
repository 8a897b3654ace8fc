"""How alike faces are to a character and to each other: the published measures, and ours beside them."""
