"""Key tables of the real weight files, at miniature sizes, filled with seeded noise."""
