"""Start or join Ray: authentication, autoscaling, shared folders, GPUs, resource demands.

Imports `search.space` and the folders below it, and Ray.
"""
