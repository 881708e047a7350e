"""Recurrent forecasters of daily prices: from prices to folds, networks, training and forecasts.

This package does not import Ray, Optuna or YAML. Data flows one way through its folders: `prices` -> `dataset` ->
`networks` -> `training` -> `evaluation`, and on to `forecaster` and `forecast`.
"""
