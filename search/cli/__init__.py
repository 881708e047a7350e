"""Options, checks and texts of the command line.

Imports `search.study` and what is below it.
"""
