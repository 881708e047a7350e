"""Save, load and apply a trained finalist.

Imports `stockrnn.evaluation`, `stockrnn.networks.network` and what is below them.
"""
