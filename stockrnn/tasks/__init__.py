"""Define what a study forecasts: one file a task, with its targets, losses, rival, baselines, metrics and words.

Imports `stockrnn.evaluation` and what is below it.
"""
