"""Download prices from Yahoo Finance and cache them.

Imports `stockrnn.io`, `stockrnn.prices.snapshot` and what is below it.
"""
