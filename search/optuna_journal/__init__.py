"""Keep Optuna's journal in line with the event log.

Imports `search.results` and what is below it, and Optuna.
"""
