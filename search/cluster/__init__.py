"""Start or join Ray: authentication, autoscaling, shared folders, GPUs, resource demands.

Imports `search.space` and what is below it, and Ray.
"""
