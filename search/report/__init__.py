"""Write the HTML report of one study, or a comparison of several.

Imports `search.results` and what is below it.
"""
