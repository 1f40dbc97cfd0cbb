"""Small trainings whose settings are drawn by seed from all that exist.

Words of enumerations, optimizers, schedules and callbacks come from their registries, so that a new
one is drawn without a change here. A new number, or a new argument of a schedule, has to be given
values: drawing raises a KeyError until then.
"""

import dataclasses
import inspect
import itertools
import types
from enum import StrEnum
from typing import Union, get_args, get_origin, get_type_hints

import keras
from callback_settings import MEAN, RESTORED, as_options, settings_of
from project import compose_config

from seq2seq.config.choices import AttentionKind, DecoderKind, Monitor, SearchKind, Task
from seq2seq.config.resolve import resolve_model
from seq2seq.config.schema import CallbacksConfig, DecodingConfig, ModelConfig, TrainingConfig
from seq2seq.model.bridge import legal_bridges
from seq2seq.model.decoder import HEADS
from seq2seq.model.types import StateShape

UNITS = 6
CALLBACKS = 2  # of each training
SECTIONS = {
    "model": ModelConfig,
    "training": TrainingConfig,
    "decoding": DecodingConfig,
    "callbacks": CallbacksConfig,
}
# Few compiled runs: compiling takes longer than the training.
VALUES = {
    "model.units": [UNITS],
    "model.layers": [1, 1, 2],
    "model.embedding_size": [5],
    "model.dropout": [0.3, 0.0],
    "model.encoder.units": [None],  # see `_fit_state`
    "model.encoder.layers": [None, None, 2],
    "model.decoder.units": [None],
    "model.decoder.layers": [None, None, 2],
    "model.attention.units": [None, 4],
    "training.epochs": [4],
    "training.batch_size": [16],
    "training.seed": [1, 2, 2**31],
    "training.label_smoothing": [0.0, 0.1],
    "training.clip_norm": [None, 0.1, 5.0],
    "training.patience": [None, 2],
    "training.evaluate_every": [1, 1, 2],
    "training.jit_compile": [False] * 13 + [True],
    "training.steps_per_execution": [None, 1, 2, 3],
    "training.micro_batches": [None, 1, 1, 2],
    "training.strategy": ["single"],  # the others: `test_data_parallel.py`
    "training.replicas": [None],
    "training.tf32": [None, False],
    "training.checkpoint_steps": [None, 1, 3],
    "training.checkpoint_epochs": [None, 1, 2],
    "training.checkpoints_kept": [2, 3],
    "decoding.batch_size": [8, 128],
    "decoding.max_length": [6, 9],
    "decoding.min_length": [0, 0, 2],
    "decoding.n_best": [1, 2],
    "decoding.beam_size": [2, 3],
    "decoding.length_penalty": [0.0, 1.0],
    "decoding.temperature": [0.7, 1.0],
    "decoding.top_k": [0, 4],
    "decoding.top_p": [0.9, 1.0],
    "decoding.seed": [1, 2],
    "decoding.jit_compile": [False] * 13 + [True],
    "callbacks.examples": [0, 2],
    "callbacks.histograms_every": [0, 1, 2],
    "callbacks.tensorboard": [True, True, False],
}
SCHEDULE_VALUES = {
    "initial_learning_rate": 0.02,
    "decay_steps": 10,
    "first_decay_steps": 4,
    "decay_rate": 0.5,
    "boundaries": [4, 9],
    "values": [0.02, 0.01, 0.005],
    "alpha": 0.1,  # Keras's Ftrl divides by the learning rate: it must not decay to 0.
}
OPTIMIZER_OPTIONS = [
    [],
    MEAN,
    ["+optimizer.weight_decay=0.01"],
    ["+optimizer.gradient_accumulation_steps=2"],
    ["+optimizer.use_ema=true", "+optimizer.ema_overwrite_frequency=5"],
    ["+optimizer.loss_scale_factor=8.0"],
]
# Keras refuses them with a schedule.
SETS_LEARNING_RATE = {"LearningRateScheduler", "ReduceLROnPlateau"}
# Not optimizers of their own, but wrappers of others, which settings cannot name variables for.
WRAPPERS = {"LossScaleOptimizer", "MultiOptimizer", "Optimizer"}
EXAMPLES = ["data.train_examples=70", "data.dev_examples=12", "data.test_examples=9"]


class Decks:
    """Every kind of choice is dealt from a shuffled deck of its own: each card comes equally often.

    Attributes:
        undealt: Name of the deck → cards that were never dealt.
    """

    def __init__(self, rng):
        self.rng, self.decks, self.undealt = rng, {}, {}

    def deal(self, name, cards):
        if not self.decks.get(name):
            self.decks[name] = self.rng.sample(list(cards), len(cards))
            self.undealt.setdefault(name, list(self.decks[name]))
        card = self.decks[name].pop()
        if card in self.undealt[name]:
            self.undealt[name].remove(card)
        return card


def trainings_for_all():
    """Returns how many trainings have every optimizer, and every callback with all its settings."""
    return max(len(optimizers()), -(-len(_callbacks()) // CALLBACKS))


def draw_settings(decks, count, folder):
    """Returns `count` lists of overrides.

    Args:
        decks: The choices.
        count: How many trainings.
        folder: A folder from `write_files`, and where callbacks may write below `files/`.
    """
    return [list(_draw_training(decks, folder)) for _ in range(count)]


def draw_model(decks):
    """Returns overrides of a model and its search alone, which fit each other."""
    drawn = {}
    for section in ("model", "decoding"):
        drawn |= _draw_section(decks, section, SECTIONS[section])
    _remove_contradictions(drawn)
    _fit_state(drawn)
    return {key: _word(value) for key, value in drawn.items()}


def write_files(folder):
    """Writes examples with features for `data=tsv`."""
    words = ["abcdef"[i % 6] + "abc"[i % 3] * (1 + i % 2) + "fed"[i // 7 % 3] for i in range(70)]
    lines = [f"{word}\t{word[::-1]}\tA;{'XY'[len(word) % 2]}\n" for word in words]
    (folder / "train.tsv").write_text("".join(lines))
    (folder / "dev.tsv").write_text("".join(lines[:12]))


def _draw_training(decks, folder):
    drawn = {}
    for section, schema in SECTIONS.items():
        drawn |= _draw_section(decks, section, schema)
    _remove_contradictions(drawn)
    _fit_state(drawn)
    yield "run_dir=x"
    yield from _draw_data(decks, folder, drawn["model.decoder.kind"])
    yield from (f"{key}={_word(value)}" for key, value in drawn.items())
    callbacks = [decks.deal("callback", _callbacks()) for _ in range(CALLBACKS)]
    names = {name for name, _ in callbacks}
    yield from _draw_optimizer(decks, names)
    for i, (name, arguments) in enumerate(callbacks):
        settings = settings_of(f"keras.callbacks.{name}", arguments, f"{folder}/files/{i}")
        yield from as_options(settings, f"+callbacks.extra.c{i}")
    if drawn["model.attention.kind"] is not AttentionKind.monotonic:
        yield f"data.reverse_target={decks.deal('reverse_target', [False, True])}"


def _draw_section(decks, prefix, schema):
    """Returns a value for every setting of a dataclass, by its dotted name."""
    hints, drawn = get_type_hints(schema, include_extras=True), {}
    for field in dataclasses.fields(schema):
        key, kind = f"{prefix}.{field.name}", hints[field.name]
        if dataclasses.is_dataclass(kind):
            drawn |= _draw_section(decks, key, kind)
        elif key != "callbacks.extra":
            drawn[key] = decks.deal(key, VALUES.get(key) or _choices(key, kind))
    return drawn


def _choices(key, kind):
    """Returns the words of an enumeration, or True and False; None too where it is possible."""
    kinds = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    choices = []
    for one in kinds:
        if one is types.NoneType:
            choices.append(None)
        elif one is bool:
            choices += [False, True]
        elif inspect.isclass(one) and issubclass(one, StrEnum):
            choices += list(one)
        else:
            raise KeyError(f"VALUES has no values of {key}")
    return choices


def _remove_contradictions(drawn):
    if drawn["model.attention.kind"] in HEADS:
        drawn["model.tied_output"] = False
    if drawn["model.attention.kind"] is AttentionKind.none:
        drawn["model.copy"] = False
    if drawn["model.tied_output"]:
        drawn |= {"model.input": "embedding", "model.decoder.kind": "state_seeded"}
    if drawn.get("training.monitor") in (Monitor.bleu, Monitor.chrf):
        drawn["training.bleu"] = True
    if drawn["decoding.kind"] == SearchKind.greedy:
        drawn["decoding.n_best"] = 1


def _fit_state(drawn):
    """Gives the encoder directions and units with which the drawn bridge and attention fit."""
    both = [drawn["model.encoder.bidirectional"], not drawn["model.encoder.bidirectional"]]
    for is_bidirectional, units in itertools.product(both, (UNITS, UNITS // 2)):
        words = [f"model.units={UNITS}", f"model.encoder.units={units}"]
        words += [f"model.encoder.bidirectional={is_bidirectional}"]
        model = resolve_model(compose_config("run_dir=x", *words).model)
        legal = legal_bridges(StateShape.of_encoder(model), StateShape.of_decoder(model))
        is_wide = (1 + is_bidirectional) * units == UNITS
        is_dot = drawn["model.attention.kind"] is AttentionKind.dot
        if drawn["model.bridge.kind"] in legal and (is_wide or not is_dot):
            break
    drawn |= {"model.encoder.bidirectional": is_bidirectional, "model.encoder.units": units}
    for key in ("model.bridge.state_h", "model.bridge.state_c"):
        if drawn[key] not in legal:
            drawn[key] = None


def _draw_data(decks, folder, decoder):
    needs_features = decoder == DecoderKind.with_features
    task = Task.tsv if needs_features else decks.deal("task", list(Task))
    yield from (f"data={task}", f"data.buckets={decks.deal('buckets', [1, 2])}", *EXAMPLES)
    if task is Task.tsv:
        yield from (f"data.train={folder}/train.tsv", f"data.dev={folder}/dev.tsv")
        yield f"data.test={folder}/dev.tsv"
        yield f"data.in_memory_mib={decks.deal('memory', [0, 8])}"
        column = 3 if needs_features else decks.deal("features", ["null", 3])
        yield f"data.features.column={column}"
    elif task in (Task.reverse, Task.copy, Task.sort):
        yield from ("data.min_length=2", "data.max_length=5")


def _draw_optimizer(decks, callbacks):
    yield f"optimizer._target_=keras.optimizers.{decks.deal('optimizer', optimizers())}"
    if callbacks & SETS_LEARNING_RATE:
        yield "optimizer.learning_rate=0.01"
    else:
        yield _schedule_word(decks.deal("schedule", schedules()))
    swaps = "SwapEMAWeights" in callbacks
    yield from MEAN if swaps else decks.deal("optimizer options", OPTIMIZER_OPTIONS)


def _schedule_word(name):
    parameters = inspect.signature(getattr(keras.optimizers.schedules, name)).parameters
    given = [one for one in parameters if one in SCHEDULE_VALUES]
    arguments = "".join(f", {one}: {SCHEDULE_VALUES[one]}" for one in given)
    return f"optimizer.learning_rate={{_target_: keras.optimizers.schedules.{name}{arguments}}}"


def optimizers():
    """Returns the names of Keras's optimizers."""
    return sorted(_subclasses(keras.optimizers, keras.optimizers.Optimizer) - WRAPPERS)


def schedules():
    """Returns the names of Keras's schedules."""
    base = keras.optimizers.schedules.LearningRateSchedule
    return sorted(_subclasses(keras.optimizers.schedules, base) - {"LearningRateSchedule"})


def _subclasses(module, base):
    return {n for n, one in vars(module).items() if inspect.isclass(one) and issubclass(one, base)}


def _callbacks():
    return [(name, arguments) for name, many in RESTORED.items() for arguments in many]


def _word(value):
    return "null" if value is None else str(value)
