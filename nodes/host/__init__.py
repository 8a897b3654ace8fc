"""The one place that knows the host's own modules; every other file of nodes/ sees the host through it."""
