"""Run trials on Ray Tune: the trainable, the searcher, ASHA, the callback, stopping.

Imports `search.cluster`, `search.optuna_journal`, `search.terminal`, `search.tracking` and what is below them, and Ray.
"""
