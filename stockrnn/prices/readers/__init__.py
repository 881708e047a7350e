"""Read price tables as people have them: CSV and Parquet files in many spellings.

Imports `stockrnn.io` and `stockrnn.prices.loading.series`.
"""
