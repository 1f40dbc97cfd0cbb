"""Summary of a training before it begins; at its end the reason, the results and the next steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from seq2seq.config.schema import RunConfig, TrainingConfig
from seq2seq.data.batches import BatchPlan
from seq2seq.data.examples import Splits
from seq2seq.data.vocabulary import Tokenizer, Vocabularies
from seq2seq.evaluation.evaluate_model import ScoredExample, best_and_worst
from seq2seq.evaluation.metrics import METRICS, format_metric
from seq2seq.evaluation.summary import SUMMARY_CAPTION, summary_rows
from seq2seq.hardware import device_name, has_gpu, multiplies_as_tf32
from seq2seq.model.seq2seq import Seq2Seq, count_parameters
from seq2seq.runs.run_dir import RunDir
from seq2seq.training.progress import Progress
from seq2seq.training.screen import Screen, command, short_path


def show_start(
    screen: Screen,
    config: RunConfig,
    run: RunDir,
    splits: Splits,
    vocabularies: Vocabularies,
    plan: BatchPlan,
    model: Seq2Seq,
) -> None:
    """Prints data sizes, vocabularies, parameters, shapes and an example."""
    example = splits.train[0]
    features = f", {len(vocabularies.features)} feature" if vocabularies.features else ""
    shapes = ", ".join(f"{s}→{t}" for _, s, t in plan.shapes)
    parts = {
        name: count_parameters(getattr(model, name)) for name in ("encoder", "bridge", "decoder")
    }
    rows = {
        "data": f"{config.data.task}: {len(splits.train):,} train, {len(splits.dev):,} dev, "
        f"{len(splits.test):,} test",
        "example": f"{_source(config, example.source, example.features)} → "
        f"{Tokenizer(config.data.target.tokens).join(example.target)}",
        "vocabulary": f"{len(vocabularies.source)} source{features}, "
        f"{len(vocabularies.target)} target",
        "model": f"{count_parameters(model):,} parameters: "
        + ", ".join(f"{name} {count:,}" for name, count in parts.items()),
        "device": _device(config.training),
        "batches": f"{plan.steps:,} of {plan.batch_size} per epoch; steps padded to {shapes}",
        "run folder": short_path(run.path),
    }
    screen.rows(rows)


def _device(settings: TrainingConfig) -> str:
    """Returns what computes, and on a GPU how."""
    if not has_gpu():
        return device_name()
    tf32 = ", products as TF32" if multiplies_as_tf32() else ""
    return f"{device_name()}{tf32}, {'compiled by XLA' if settings.jit_compile else 'not compiled'}"


def show_end(screen: Screen, progress: Progress, settings: TrainingConfig) -> None:
    """Prints why training ends."""
    metric = METRICS[settings.monitor]
    name = f"dev_{metric.name}"
    if settings.epochs and progress.epoch >= settings.epochs:
        reason = f"all {settings.epochs} epochs are trained"
    elif progress.is_stopped:
        reason = f"after epoch {progress.epoch}: a callback asked for it"
    elif metric.perfect is not None and progress.best_value == metric.rank(metric.perfect):
        perfect = format_metric(metric.name, metric.perfect)
        reason = f"after epoch {progress.epoch}: {name} of {perfect} cannot get better"
    else:
        unit = "epoch" if settings.evaluate_every == 1 else "evaluation"
        number = progress.evaluations_without_better
        waited = f"{number} {unit}{'s' * (number != 1)}"
        reason = f"after epoch {progress.epoch}: no better {name} for {waited}"
    screen.rows({"end": reason})


def show_results(
    screen: Screen,
    config: RunConfig,
    results: dict[str, Any],
    scored: Sequence[ScoredExample],
) -> None:
    """Prints the scores of each split, and the best and worst predictions of the last split."""
    splits = [name for name in ("dev", "test") if name in results]
    title = f"Best epoch {results['best_epoch']} of {results['epochs']}"
    table = Table(title=title, caption=SUMMARY_CAPTION)
    table.add_column("")
    for name in splits:
        table.add_column(name, justify="right")
    for row in summary_rows({name: results[name] for name in splits}):
        table.add_row(*map(escape, row))
    screen.table(table)
    if calibration := results.get("calibration"):
        screen.rows({"calibration": _calibration_text(calibration)})
    examples = Table(title=f"Best and worst of {splits[-1]}")
    for column in ("source", "prediction", "reference", "edits"):
        examples.add_column(column)
    for s in best_and_worst(scored, count=6):
        source, features, prediction, reference, *_ = s.row(config.data)
        examples.add_row(
            *map(escape, (f"{source} {features}", prediction, reference, str(s.errors)))
        )
    screen.table(examples)


def _calibration_text(calibration: dict[str, Any]) -> str:
    errors = (
        f"{name} {error['before']:.3f} → {error['after']:.3f}"
        for name, error in calibration["calibration_error"].items()
        if error
    )
    return (
        f"temperature {calibration['temperature']:.2f} of confidences, fitted on dev; expected "
        f"calibration error {', '.join(errors)}"
    )


def show_next_steps(screen: Screen, run: RunDir, has_tensorboard: bool) -> None:
    """Prints where the run is and the commands that use it."""
    rows = {"run folder": short_path(run.path), "decode": command("infer", "run", run.path)}
    if has_tensorboard:
        rows["look"] = f"tensorboard --logdir {short_path(run.path)}"
    screen.rows(rows)


def _source(config: RunConfig, source: Sequence[str], features: Sequence[str]) -> str:
    text = Tokenizer(config.data.source.tokens).join(source)
    return f"{text} ({config.data.features.separator.join(features)})" if features else text
