"""Recurrent forecasters of daily prices: from prices to folds, networks, training and forecasts.

This package knows no Ray, no Optuna and no YAML. Its data flows one way:
`prices` -> `quality` -> `folds` -> `windows` -> `lockstep` (many `networks` at once) -> `training` -> `metrics`,
and on to `forecaster` and `forecast`. `significance` and `selection` ask whether a lead is luck.
"""
