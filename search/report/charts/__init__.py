"""The charts of the report, as plotly figures.

Imports `search.results` and what is below it.
"""
