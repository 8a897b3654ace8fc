"""Developers' tools: set-up, doctor, live host, API client, browser page, import rules. Nothing of it is shipped.

What dev.py imports needs the standard library only, because it runs before anything is installed.
"""
