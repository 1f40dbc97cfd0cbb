"""Whole training epochs of a model with attention on a file, including its input pipeline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.context import Context, Trained
from benchmarks.data import max_target_length
from benchmarks.interleave import Contestant, Worker
from benchmarks.results import CaseResult, PartResult, Table

MAX_ROUNDS = 4
NOTES = [
    "An epoch over all examples, without validation. `first epoch` includes compilation and is not "
    "among the rounds. All models: BiLSTM encoder, LSTM decoder, additive attention, embeddings, "
    "dropout, Adam.",
    "Ours and Keras apply attention after the decoder's recurrent layer. yoyodyne applies it "
    "before that layer at every step and feeds the context into it: the sizes are equal, the "
    "models are not identical.",
    "Ours includes shuffling and batch preparation, yoyodyne its DataLoader. Keras and PyTorch "
    "have no length buckets and get ours, ready in memory.",
]


def run(context: Context) -> PartResult:
    """Measures epochs in turns and leaves the trained models for the part `words`."""
    if context.has_gpu:
        return _run_on_gpu(context)
    spec = make_spec(context)
    from_memory = {**spec, "in_memory": True, "save_to": None, "batches_to": None}
    in_keras = {**spec, "steps": 10}
    contestants = [
        Contestant("ours", "ours", spec),
        Contestant("ours, batches in memory", "ours", from_memory),
        Contestant(
            "ours, mixed_bfloat16",
            "ours",
            {**spec, "save_to": None, "batches_to": None, "precision": "mixed_bfloat16"},
        ),
        Contestant("keras fit", "keras_fit", {**in_keras, "jit": False}),
        Contestant("keras fit, jit_compile", "keras_fit", {**in_keras, "jit": True}),
    ]
    in_torch = {**spec, "batches": spec["batches_to"]}
    contestants += context.peer("PyTorch", "torch_model", in_torch)
    yoyodyne = context.work / "yoyodyne"
    config = write_config(context, yoyodyne, _fit(yoyodyne, spec), "fit")
    contestants += context.peer("yoyodyne fit", "yoyodyne_fit", {"config": str(config)})
    case = context.measure(
        f"Epoch, attentive LSTM {spec['units']}", contestants, MAX_ROUNDS, turn_seconds=None
    )
    context.trained = Trained(context.work / "ours", yoyodyne if context.peers else None)
    table = report.comparison("An epoch", [case], unit="s", scale=1.0)
    table.notes += NOTES
    return PartResult("Epoch", [case], [table, _details(case)])


def _run_on_gpu(context: Context) -> PartResult:
    """Measures epochs with batches of 64 and 256."""
    cases = []
    for batch in (64, 256):
        spec = {**make_spec(context), "batch": batch, "save_to": None}
        alone = {**spec, "batches_to": None}
        in_torch = {**spec, "batches": spec["batches_to"], "products": "tf32"}
        contestants = [
            context.here("ours, XLA", "ours", alone | _compiled(True)),
            context.here("ours, cuDNN", "ours", alone | _compiled(False)),
            context.here(
                "ours, XLA, mixed_bfloat16",
                "ours",
                alone | _compiled(True) | {"precision": "mixed_bfloat16"},
            ),
            context.here("keras fit", "keras_fit", {**spec, "steps": 10, "jit": False}),
        ]
        _write_batches(spec)
        contestants += context.peer("PyTorch, tf32", "torch_model", in_torch)
        name = f"Epoch, attentive LSTM {spec['units']}, batches of {batch}"
        cases.append(context.measure(name, contestants, MAX_ROUNDS, turn_seconds=None))
    table = report.comparison("An epoch", cases, unit="s", scale=1.0)
    table.notes += NOTES[:2]
    details = [_details(case) for case in cases]
    return PartResult("Epoch on a GPU", cases, [table, report.utilisation(cases), *details])


def _write_batches(spec: dict[str, Any]) -> None:
    """Writes the batches for PyTorch before all contestants start at once."""
    worker = Worker(Contestant("batches", "ours", {**spec, "task": "batches"}), timeout=600.0)
    try:
        worker.wait_until_ready()
    finally:
        worker.finish()


def _compiled(jit: bool) -> dict[str, Any]:
    return {"settings": [f"training.jit_compile={str(jit).lower()}"]}


def make_spec(context: Context) -> dict[str, Any]:
    """Returns the specification of our worker."""
    return {
        "task": "epoch",
        "train": str(context.train),
        "dev": str(context.dev),
        "units": 16 if context.is_quick else 256,
        "embedding": 128,  # yoyodyne's default
        "dropout": 0.3,
        "precision": "float32",
        "batch": 64,
        "in_memory": False,
        "save_to": str(context.work / "ours"),
        "batches_to": str(context.work / "batches.npz"),
    }


def _details(case: CaseResult) -> Table:
    rows = [
        [m.name, report.number(m.first_seconds), f"{m.info.get('parameters', 0):,}",
         str(m.info.get("steps", "")), report.spread(m.seconds)]
        for m in case.contestants
    ]  # fmt: skip
    in_memory = case.ratio(case.contestants[1])
    # The pipeline costs the time beyond that of the same steps on tensors in memory.
    notes = [] if in_memory is None else [
        f"The input pipeline's share of our epoch: {1 - in_memory.median:.1%} "
        f"(from {1 - in_memory.maximum:.1%} to {1 - in_memory.minimum:.1%}; "
        "negative values are noise)."
    ]  # fmt: skip
    columns = ["contestant", "first epoch, s", "parameters", "steps", "later epochs, s"]
    return Table("First epoch and sizes", columns, rows, notes)


def write_config(context: Context, folder: Path, config: dict[str, Any], name: str) -> Path:
    """Writes a configuration file for yoyodyne as JSON, which is valid YAML."""
    folder.mkdir(parents=True, exist_ok=True)
    # The same limit as ours.
    config["data"]["max_target_length"] = 2 * max_target_length(context.train) + 1
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")
    return path


def model_config(spec: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Returns the model section of a yoyodyne configuration."""
    encoder = {
        "class_path": "yoyodyne.models.modules.LSTMEncoder",
        "init_args": {
            "hidden_size": spec["units"],
            "bidirectional": True,
            "embedding_size": spec["embedding"],
            "dropout": spec["dropout"],
        },
    }
    return {
        "class_path": "yoyodyne.models.SoftAttentionLSTMModel",
        "init_args": {
            "decoder_hidden_size": spec["units"],
            "decoder_dropout": spec["dropout"],
            "embedding_size": spec["embedding"],
            "source_encoder": encoder,
            "optimizer": {"class_path": "yoyodyne.optimizers.Adam", "init_args": {"lr": 0.001}},
            **more,
        },
    }


def _fit(folder: Path, spec: dict[str, Any]) -> dict[str, Any]:
    callback = {"class_path": "benchmarks.workers.yoyodyne_callbacks.EpochTurns"}
    return {
        "seed_everything": 1,
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 1000,  # the orchestrator stops it earlier
            "limit_val_batches": 0,
            "enable_progress_bar": False,
            "default_root_dir": str(folder),
            "callbacks": [callback],
        },
        "model": model_config(spec),
        "data": {
            "model_dir": str(folder),
            "train": spec["train"],
            "val": spec["dev"],
            "source_sep": "",
            "target_sep": " ",
            "tie_embeddings": False,
            "batch_size": spec["batch"],
        },
        "checkpoint": {"filename": "trained", "save_top_k": 1, "dirpath": str(folder)},
    }
