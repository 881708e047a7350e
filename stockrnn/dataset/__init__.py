"""Turn a price series into samples: features, aligned series, windows.

Imports `stockrnn.tasks` and what is below it.
"""
