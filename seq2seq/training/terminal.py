"""Summary of a training before it begins, and tables of its results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from seq2seq.config.schema import RunConfig
from seq2seq.data.batches import BatchPlan
from seq2seq.data.examples import Splits
from seq2seq.data.vocabulary import Tokenizer, Vocabularies
from seq2seq.evaluation.evaluate_model import ScoredExample, best_and_worst
from seq2seq.evaluation.metrics import format_metric
from seq2seq.model.seq2seq import Seq2Seq, count_parameters
from seq2seq.runs.run_dir import RunDir


def show_start(
    console: Console,
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
        "batches": f"{plan.steps:,} of {plan.batch_size} per epoch; steps padded to {shapes}",
        "run folder": str(run.path),
    }
    table = Table.grid(padding=(0, 2))
    for name, text in rows.items():
        table.add_row(f"[bold]{name}[/bold]", escape(text))
    console.print(table)


def show_results(
    console: Console,
    config: RunConfig,
    results: dict[str, Any],
    scored: Sequence[ScoredExample],
) -> None:
    """Prints the scores of each split, and the best and worst predictions of the last split."""
    splits = [name for name in ("dev", "test") if name in results]
    table = Table(title=f"Best epoch {results['best_epoch']} of {results['epochs']}")
    table.add_column("")
    for name in splits:
        table.add_column(name, justify="right")
    for metric in results[splits[0]]:
        table.add_row(metric, *(format_metric(metric, results[name][metric]) for name in splits))
    console.print(table)
    examples = Table(title=f"Best and worst of {splits[-1]}")
    for column in ("source", "prediction", "reference", "edits"):
        examples.add_column(column)
    for s in best_and_worst(scored, count=6):
        source, features, prediction, reference, *_ = s.row(config.data)
        examples.add_row(
            *map(escape, (f"{source} {features}", prediction, reference, str(s.errors)))
        )
    console.print(examples)


def _source(config: RunConfig, source: Sequence[str], features: Sequence[str]) -> str:
    text = Tokenizer(config.data.source.tokens).join(source)
    return f"{text} ({config.data.features.separator.join(features)})" if features else text
