"""Run and read studies from Python: `search.run_study` and `search.open_study`.

Imports `search.cli` and what is below it. pandas is imported when a DataFrame is made.
"""
