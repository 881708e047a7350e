"""Run a study from start to end: search, finalists, test block, statistical tests.

Imports `search.tune`, `search.report` and what is below them.
"""
