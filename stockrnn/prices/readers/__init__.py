"""Read price tables from CSV and Parquet files, with many spellings of columns, dates and numbers.

Imports `stockrnn.io` and `stockrnn.prices.series`.
"""
