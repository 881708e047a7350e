"""Predict the epochs, operations and hours of a study, and detect trials that take far longer.

Imports `search.space` and `search.common`. PyTorch is not imported, so that `--dry-run` starts quickly.
"""
