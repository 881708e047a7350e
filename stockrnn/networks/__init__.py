"""Recurrent networks: cells, heads, single networks and ensembles that train in lockstep.

Imports `stockrnn.dataset` and what is below it.
"""
