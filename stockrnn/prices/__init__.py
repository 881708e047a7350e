"""Load a daily price series, check it and clean it.

A series comes from a file, a shipped data set or Yahoo. Imports `stockrnn.io`.
"""
