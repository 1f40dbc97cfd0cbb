"""This project, through the functions that `train.py` and `infer.py` call."""

from __future__ import annotations

import gc
import itertools
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.workers.ids import END, random_batch
from benchmarks.workers.protocol import Task, cores, serve, timed, timed_by_median
from benchmarks.workers.settings import compose_config, read_examples
from seq2seq.config.choices import SearchKind
from seq2seq.config.commands import DecodingChanges
from seq2seq.config.machine_rule import Facts
from seq2seq.config.resolve import resolve, resolve_training
from seq2seq.config.schema import RunConfig, TrainingConfig
from seq2seq.data.batches import Batch, BatchPlan, as_dataset
from seq2seq.hardware import has_gpu, keep_freed_memory, shared_cache_bytes, slow_cache_bytes
from seq2seq.inference.compiled_search import compile_search
from seq2seq.inference.ensemble import Ensemble
from seq2seq.inference.predictor import Predictor
from seq2seq.model.seq2seq import Seq2Seq, build_model, count_parameters
from seq2seq.runs.run_dir import RunDir
from seq2seq.runs.weights import write_weights
from seq2seq.training.facts import facts_of, largest_kernel
from seq2seq.training.keras_objects import make_optimizer
from seq2seq.training.step import TrainSteps, compile_training

Spec = dict[str, Any]


def step(spec: Spec) -> Task:
    """Training steps on one batch of one-hot ids, several steps per call."""
    config, model = _one_hot_model(
        spec,
        f"training.batch_size={spec['batch']}",
        f"training.precision={spec['precision']}",
        "training.clip_norm=null",
    )
    facts = Facts(
        parameters=count_parameters(model),
        max_target_tokens=spec["length"],
        steps_per_epoch=1,
        largest_batch=(spec["batch"], spec["length"], spec["length"]),
        cores=cores(),
        has_gpu=has_gpu(),
        shapes=1,
        has_cudnn=True,
        kernel_bytes=largest_kernel(model),
        cache_bytes=slow_cache_bytes(),
        shared_bytes=shared_cache_bytes(),
    )
    settings = resolve_training(config.training, facts)
    train_steps = _compile_training(model, config, settings)
    batch = Batch(*random_batch(spec))
    batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
    count = tf.constant(spec["steps"])
    info = {"parameters": facts.parameters, "micro_batches": settings.micro_batches}
    return Task(timed(lambda: train_steps(batches, count).sums.loss.numpy()), info)


def epoch(spec: Spec) -> Task:
    """Whole epochs of a model with attention on a file, from the input pipeline or memory."""
    keras.utils.set_random_seed(1)
    config, vocabularies, plan = read_examples(spec)
    model = build_model(
        config.model,
        vocabularies.source_size,
        len(vocabularies.target),
        config.training.precision,
    )
    parameters = count_parameters(model)
    config = resolve(config, facts_of(model, plan))
    train_steps = _compile_training(model, config, config.training)
    if spec["batches_to"]:
        _save_batches(plan, Path(spec["batches_to"]))
    batches = iter(_in_memory(plan) if spec["in_memory"] else as_dataset(plan, plan.epochs(1, 0)))
    per_call = config.training.steps_per_execution
    assert per_call is not None

    def one_epoch() -> None:
        done = 0
        while done < plan.steps:
            count = min(per_call, plan.steps - done)
            _ = [float(value) for value in train_steps(batches, tf.constant(count)).sums]
            done += count

    def save() -> None:
        if spec["save_to"]:
            run = RunDir.create(spec["save_to"])
            vocabularies.save(*run.vocabularies)
            run.save_config(config, {})
            write_weights(run.best_weights, model)

    info = {"parameters": parameters, "steps": plan.steps, "steps_per_call": per_call}
    return Task(timed(one_epoch), info, save)


def batches(spec: Spec) -> Task:
    """Nothing but the batches of one epoch, written for PyTorch."""
    _save_batches(read_examples(spec).plan, Path(spec["batches_to"]))
    return Task(lambda count: 0.0)


def decode(spec: Spec) -> Task:
    """Encoding and search of a batch of random ids as in `Predictor`, NumPy in and out."""
    words = f"decoding={spec['search']}", f"decoding.max_length={spec['length']}"
    built = [_one_hot_model(spec, *words) for _ in range(spec.get("members", 1))]
    for _, model in built:
        bias = model.decoder.logits.bias
        bias.assign(tf.tensor_scatter_nd_update(bias.value, [[END]], [-50.0]))
    config, model = built[0]
    searched: Seq2Seq | Ensemble = model
    if len(built) > 1:
        ids = [*range(spec["target_vocabulary"])]
        alike = [True] * len(built)
        searched = Ensemble([model for _, model in built], [ids] * len(built), alike)
    search = compile_search(searched, config.decoding)
    source = np.tile(random_batch(spec).source, len(built))

    def one_batch() -> None:
        hypotheses = search(tf.constant(source), tf.constant(1, tf.int32))
        hypotheses.tokens.numpy()
        hypotheses.scores.numpy()

    return Task(timed(one_batch), {"parameters": count_parameters(model)})


def words(spec: Spec) -> Task:
    """Prediction of all lines of a file with a trained run, text in and out."""
    began = time.perf_counter()
    lines = Path(spec["words"]).read_text(encoding="utf-8").splitlines()
    predictor = Predictor.load(RunDir.find(spec["run"]), _decoding_changes(spec["search"]))
    info = {"load_seconds": time.perf_counter() - began, "lines": len(lines)}
    return Task(timed(lambda: predictor.predict(lines)), info)


def single_words(spec: Spec) -> Task:
    """Prediction of one line of a file per call, with a trained run."""
    lines = itertools.cycle(Path(spec["words"]).read_text(encoding="utf-8").splitlines())
    predictor = Predictor.load(RunDir.find(spec["run"]))
    return Task(timed_by_median(lambda: predictor.predict([next(lines)])))


def _one_hot_model(spec: Spec, *overrides: str) -> tuple[RunConfig, Seq2Seq]:
    config = compose_config(
        f"model.cell={spec['cell']}",
        f"model.units={spec['units']}",
        "model.input=one_hot",
        *spec.get("settings", ()),
        *overrides,
    )
    sizes = (spec["source_vocabulary"], spec["target_vocabulary"])
    return config, build_model(config.model, *sizes, config.training.precision)


def _compile_training(model: Seq2Seq, config: RunConfig, settings: TrainingConfig) -> TrainSteps:
    optimizer = make_optimizer(config.optimizer)  # Its learning rate is constant.
    optimizer.build(model.trainable_variables)
    return compile_training(model, optimizer, settings)


def _in_memory(plan: BatchPlan) -> tf.data.Dataset:
    """Returns a data set that repeats one epoch's batches from memory."""
    dataset = as_dataset(plan, plan.epoch(seed=1, epoch=0)).cache()
    for _ in dataset:  # fills the cache
        pass
    return dataset.repeat()


def _save_batches(plan: BatchPlan, path: Path) -> None:
    """Writes an epoch's batches for PyTorch, as arrays named `0.source` and so on."""
    arrays = {
        f"{i}.{name}": ids
        for i, batch in enumerate(plan.epoch(seed=1, epoch=0))
        for name, ids in batch._asdict().items()
    }
    np.savez(path, **arrays)


def _decoding_changes(search: str) -> DecodingChanges:
    nothing = dict.fromkeys(DecodingChanges.__dataclass_fields__)
    return DecodingChanges(**nothing | {"kind": SearchKind(search)})


TASKS = {
    "step": step,
    "epoch": epoch,
    "batches": batches,
    "decode": decode,
    "words": words,
    "single_words": single_words,
}

if __name__ == "__main__":
    # The same start-up as in `train.py` and `infer.py`.
    keep_freed_memory()
    gc.freeze()
    tf.config.threading.set_intra_op_parallelism_threads(cores())
    serve(lambda spec: TASKS[spec["task"]](spec))
