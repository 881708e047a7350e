"""Estimate and forecast the variance of daily returns: range estimators, features, HAR, GARCH.

Pure functions on arrays, float64, one value per session; imports `stockrnn.io` alone.
"""
