"""Show a running study on the terminal.

Imports `search.results` and what is below it.
"""
