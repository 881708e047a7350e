"""Read and write files and folders, local or behind a URL.

Every read has a bound on its size; every write is atomic. Imports nothing else of this project.
"""
