"""Patches of Ray Tune's internals.

Imported by `search.study` alone.
"""
