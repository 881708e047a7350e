"""Train the twenty networks with NeuralForecast (AutoRNN, AutoGRU, AutoLSTM), and forecast the test set.

python -m benchmarks.neural_forecast

NeuralForecast draws random windows, for as many steps as ten epochs have, and uses the weights after the last step.
"""

import json

from neuralforecast import NeuralForecast
from neuralforecast.auto import AutoGRU, AutoLSTM, AutoRNN
from neuralforecast.common._base_auto import RayOptions
from neuralforecast.losses.pytorch import MSE
from ray import tune
from ray.tune.search.basic_variant import BasicVariantGenerator

from benchmarks.task import BLOCK, EPOCHS, points, table


def auto(kind: type, chosen: list[dict], steps: int, columns: list[str]):
    """Return the model that searches the points of one architecture."""
    lengths = ("input_size", "inference_input_size")
    tried = [
        {"encoder_hidden_size": one["hidden_size"], **dict.fromkeys(lengths, one["sequence_length"])} for one in chosen
    ]
    config = {
        "encoder_hidden_size": tune.choice([8, 16, 32]),
        **{name: tune.choice([5, 10, 20]) for name in lengths},
        "encoder_n_layers": 2,
        "decoder_layers": 1,
        "hist_exog_list": columns,
        "exclude_insample_y": True,
        "learning_rate": 1e-3,
        "max_steps": EPOCHS * steps,
        "val_check_steps": steps,
        "batch_size": 1,
        "windows_batch_size": 64,
        "scaler_type": "identity",
        "random_seed": 0,
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
    }
    search = BasicVariantGenerator(points_to_evaluate=tried)
    return kind(
        h=1, loss=MSE(), config=config, search_alg=search, num_samples=len(tried), ray_options=RayOptions(cpus=1)
    )


def main() -> None:
    """Run the search, and forecast the test set with the model that is best on validation."""
    frame, columns = table(), ["open", "high", "low", "close", "volume"]
    known = frame.loc[: len(frame) - 2 * BLOCK - 1, columns]
    frame[columns] = (frame[columns] - known.mean()) / known.std()
    frame["y"] = frame["ahead"].shift(1)  # the return into the session
    frame = frame.rename(columns={"date": "ds"}).drop(columns="ahead").iloc[1:].assign(unique_id="nasdaq")
    steps = -(-(len(frame) - 2 * BLOCK) // 64)
    models = [
        auto(kind, [one for one in points() if one["architecture"] == name], steps, columns)
        for name, kind in (("rnn", AutoRNN), ("gru", AutoGRU), ("lstm", AutoLSTM))
    ]
    forecaster = NeuralForecast(models=models, freq=1)
    frame["ds"] = range(len(frame))
    forecasts = forecaster.cross_validation(frame, val_size=BLOCK, test_size=BLOCK, n_windows=None)
    losses = {str(one): one.results.get_best_result().metrics["loss"] for one in forecaster.models}
    best = min(losses, key=losses.get)
    print(json.dumps(forecasts[best].tolist()))


if __name__ == "__main__":
    main()
