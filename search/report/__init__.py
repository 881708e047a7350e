"""Write the HTML report of a study, or a comparison of several studies.

Imports `search.results` and what is below it.
"""
