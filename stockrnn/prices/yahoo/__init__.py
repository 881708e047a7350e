"""Download prices from Yahoo Finance and cache them.

Imports `stockrnn.io` and `stockrnn.prices.loading`.
"""
