"""Train ensembles: epochs, optimisers, memory, checkpoints, CUDA graphs.

Imports `stockrnn.networks.network` and what is below it.
"""
