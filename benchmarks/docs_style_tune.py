"""Train the twenty networks as in Ray Tune's documentation: function trainable, OptunaSearch, one process per trial.

python -m benchmarks.docs_style_tune [--folds 1] [--seeds 1]
"""

import json
import tempfile

import ray
from ray import tune
from ray.tune.search.optuna import OptunaSearch

from benchmarks.plain_loop import losses_of, unseen_forecasts
from benchmarks.task import Size, points, size_from_command_line


def trainable(config: dict, size: Size) -> None:
    """Train one trial and report its score."""
    import torch

    torch.set_num_threads(1)
    for loss in losses_of(config, size):
        tune.report({"loss": loss})


def main() -> None:
    """Run the twenty trials and forecast the test set."""
    size = size_from_command_line(__doc__)
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    space = {
        "architecture": tune.choice(["rnn", "gru", "lstm"]),
        "hidden_size": tune.choice([8, 16, 32]),
        "sequence_length": tune.choice([5, 10, 20]),
    }
    search = OptunaSearch(metric="loss", mode="min", points_to_evaluate=points())
    with tempfile.TemporaryDirectory() as folder:
        results = tune.Tuner(
            tune.with_parameters(trainable, size=size),
            param_space=space,
            tune_config=tune.TuneConfig(search_alg=search, num_samples=20),
            run_config=tune.RunConfig(verbose=0, storage_path=folder),
        ).fit()
        best = results.get_best_result("loss", "min", scope="all")
        epochs = 1 + int(best.metrics_dataframe["loss"].idxmin())
    print(json.dumps(unseen_forecasts(best.config, epochs, size)))


if __name__ == "__main__":
    main()
