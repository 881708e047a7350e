"""Save, load and retrain a trained finalist, and forecast with it.

Imports `stockrnn.training`, `stockrnn.evaluation` and what is below them.
"""
