"""Save and load a trained finalist, and forecast with it.

Imports `stockrnn.evaluation`, `stockrnn.networks.network` and what is below them.
"""
