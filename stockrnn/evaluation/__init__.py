"""Split a series and score forecasts: walk-forward folds, metrics, baselines, prediction intervals, tests.

Imports `stockrnn.io`.
"""
