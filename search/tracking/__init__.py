"""Send the results of a study to MLflow, TensorBoard or Weights & Biases.

Imports `search.results` and what is below it.
"""
