"""Score forecasts: metrics, baselines, prediction intervals, statistical tests.

Imports `stockrnn.dataset` and what is below it.
"""
