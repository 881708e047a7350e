"""Protect a results folder: no links in it, one writer at a time, and a copy behind a URL.

Imports `search.results.event_log` and what is below `search.results`.
"""
