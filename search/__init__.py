"""The study: reads a space, runs its trials on Ray Tune as Optuna proposes them, ranks them."""
