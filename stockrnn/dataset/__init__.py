"""Turn a price series into samples: features, aligned series, walk-forward folds, windows.

Imports `stockrnn.prices.loading` and what is below it.
"""
