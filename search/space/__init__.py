"""Read and check a space file: sections, parameters, samplers, resources.

Imports `search.common`. Only `samplers` imports Optuna, and only when it makes a sampler.
"""
