"""The same work as Ray Tune's documentation teaches it: a function trainable, OptunaSearch, one process a trial."""

import ray
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from benchmarks.plain_loop import epochs_of
from benchmarks.twenty import points, series


def trainable(config: dict) -> None:
    """One trial."""
    import torch

    torch.set_num_threads(1)
    for loss in epochs_of(config, series()):
        tune.report({"loss": loss})


def main() -> None:
    """Run the twenty trials."""
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    space = {
        "architecture": tune.choice(["rnn", "gru", "lstm"]),
        "hidden_size": tune.choice([8, 16, 32]),
        "sequence_length": tune.choice([5, 10, 20]),
    }
    search = OptunaSearch(metric="loss", mode="min", points_to_evaluate=points())
    tune.Tuner(
        trainable,
        param_space=space,
        tune_config=tune.TuneConfig(search_alg=search, num_samples=20),
        run_config=tune.RunConfig(verbose=0),
    ).fit()


if __name__ == "__main__":
    main()
