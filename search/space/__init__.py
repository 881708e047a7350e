"""Read a YAML file and check it: sections, parameters, samplers, resources, costs.

Imports `search.common`. Optuna is imported in `samplers` alone, when a sampler is made.
"""
