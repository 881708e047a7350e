"""Write and read a study's folder: event log, manifest, predictions, leaderboard, locks.

Imports `search.space` and what is below it.
"""
