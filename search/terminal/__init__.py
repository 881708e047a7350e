"""Show a running study in the terminal.

Imports `search.results` and what is below it.
"""
