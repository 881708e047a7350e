"""Draw the charts of the report as Plotly figures.

Imports `search.results` and what is below it.
"""
