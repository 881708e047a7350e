"""Keep Optuna's journal in line with the event log.

Imports `search.results` and the folders below it, and Optuna.
"""
