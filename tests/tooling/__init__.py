"""The parts of dev.py. Standard library only, so that they run before anything is installed."""
