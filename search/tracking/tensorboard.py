"""Track a study in TensorBoard event files: a folder per trial in `tensorboard/`, and `study` with texts."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.results.event_log import TrialEnd
from search.space.space import Space
from search.tracking.payload import read_test_scores

__all__ = ["TensorBoard"]


class TensorBoard:
    """The event files of a study and its trials."""

    def __init__(self, space: Space, folder: Path, description: Mapping[str, str]) -> None:
        from tensorboardX import SummaryWriter
        from tensorboardX.summary import hparams

        self._writer, self._hparams, self._folder = SummaryWriter, hparams, folder
        self._metrics = dict.fromkeys(("score", space.search.metric, "loss"), 0.0)
        self._study = self._open("study")
        self._study.add_text("manifest", _format_table(description))
        self._running: dict[str, Any] = {}
        self._ended: Any = None  # the end mark; the same for all trials

    def start(self, trial_id: str, point: Mapping[str, Any]) -> None:
        writer = self._running[trial_id] = self._open(trial_id)
        plain = {name: value if isinstance(value, bool | int | float) else str(value) for name, value in point.items()}
        columns, begun, self._ended = self._hparams(plain, self._metrics)
        writer.file_writer.add_summary(columns)
        writer.file_writer.add_summary(begun)
        writer.add_text("point", _format_table(point))

    def epoch(self, trial_id: str, epoch: int, scores: Mapping[str, float]) -> None:
        if writer := self._running.get(trial_id):
            for name, value in scores.items():
                writer.add_scalar(name, value, epoch)

    def end(self, end: TrialEnd) -> None:
        if writer := self._running.pop(end.trial_id, None):
            writer.add_text("status", f"{end.status}: {end.message}" if end.message else end.status)
            if end.status in ("default", "complete", "stopped"):
                writer.file_writer.add_summary(self._ended)
            else:
                writer.file_writer.add_summary(_mark_failed(self._ended))
            writer.close()

    def flush(self) -> None:
        for writer in self._running.values():
            writer.flush()

    def close(self, manifest: Mapping[str, Any]) -> None:
        tested = read_test_scores(manifest)
        for name, scores in tested.items():
            writer = self._open(name)
            for column, value in scores.items():
                writer.add_scalar(column, value, 0)
            writer.close()
        if tested:
            self._study.add_text(
                "test block", _format_table({name: _format_scores(scores) for name, scores in tested.items()})
            )
        self._study.add_text("verdict", manifest["verdict"])
        self._study.close()

    def _open(self, name: str) -> Any:
        """Open a file of its own: tensorboardX names files by the second, and truncates a file of the same name."""
        return self._writer(str(self._folder / name), filename_suffix=f".{time.monotonic_ns()}")


def _mark_failed(ended: Any) -> Any:
    """Return the end mark of a trial with the status "failure", which tensorboardX cannot write."""
    from tensorboardX.proto.api_pb2 import Status
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    mark = type(ended).FromString(ended.SerializeToString())
    plugin = mark.value[0].metadata.plugin_data
    content = HParamsPluginData.FromString(plugin.content)
    content.session_end_info.status = Status.Value("STATUS_FAILURE")
    plugin.content = content.SerializeToString()
    return mark


def _format_table(values: Mapping[str, Any]) -> str:
    """Return names and values as a Markdown table."""
    lines = (f"| {name} | {str(value).replace('|', '&#124;')} |" for name, value in values.items())
    return "\n".join(["| | |", "|---|---|", *lines])


def _format_scores(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
