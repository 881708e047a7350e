"""Messages, errors and disk helpers that every folder uses.

Imports nothing else of `search`.
"""
