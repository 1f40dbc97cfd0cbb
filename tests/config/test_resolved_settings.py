"""Values that stand behind `null`, and settings that contradict each other."""

import dataclasses

import pytest
from project import compose_config

from seq2seq.config.checks import check_settings
from seq2seq.config.load import flatten
from seq2seq.config.machine_rule import Facts, is_short
from seq2seq.config.resolve import (
    resolve,
    resolve_model,
    resolve_optimizer,
    resolve_training,
    settings_to_keep,
)
from seq2seq.config.size_rule import by_size
from seq2seq.errors import UserError
from seq2seq.hardware import shared_cache_bytes, slow_cache_bytes
from seq2seq.training.keras_objects import make_optimizer

FACTS = Facts(
    parameters=10**5,
    max_target_tokens=7,
    steps_per_epoch=25,
    largest_batch=(64, 5, 6),
    cores=2,
    has_gpu=False,
    shapes=2,
    has_cudnn=True,
    kernel_bytes=10**5,
    cache_bytes=0,
    shared_bytes=0,
)
# Settings whose null has a meaning.
MEANT = {
    "resume",
    "init_from",
    "distill_from",
    "ensemble",
    "workers",
    "training.replicas",
    "jobs",
    "data.source.normalization",
    "data.target.normalization",
    "data.train",
    "data.dev",
    "data.test",
    "data.unlabelled",
    "data.in_memory_mib",
    "data.hallucinated_examples",
    "training.tf32",
    "data.features.column",
    "data.train_examples",
    "data.dev_examples",
    "data.test_examples",
    "training.clip_norm",
    "training.patience",
    "training.checkpoint_steps",
    "training.checkpoint_epochs",
}
OPTIONS = ["run_dir=x", "optimizer=adam_cosine", "training.clip_norm=null"]
OPTIONS += ["training.patience=null", "training.checkpoint_steps=null"]


def training(**changes):
    return dataclasses.replace(compose_config("run_dir=x").training, **changes)


def nulls(config):
    return {name for name, value in flatten(dataclasses.asdict(config)).items() if value is None}


@pytest.mark.parametrize("model", ["state", "attention"])
def test_only_a_null_with_a_meaning_of_its_own_is_left(model):
    config = compose_config(*OPTIONS, f"model={model}")
    resolved = resolve(config, FACTS)
    assert nulls(resolved) <= MEANT
    assert {"training.clip_norm", "training.patience", "training.checkpoint_steps"} <= nulls(
        resolved
    )
    assert resolve(resolved, dataclasses.replace(FACTS, max_target_tokens=99, cores=8)) == resolved


def test_what_is_given_is_kept():
    config = compose_config(
        "run_dir=x",
        "model.encoder.units=3",
        "model.decoder.cell=gru",
        "model.bridge.state_c=zero",
        "training.steps_per_execution=5",
        "decoding.max_length=4",
    )
    resolved = resolve(config, FACTS)
    before, after = (flatten(dataclasses.asdict(one)) for one in (config, resolved))
    assert {name: after[name] for name, value in before.items() if value is not None} == {
        name: value for name, value in before.items() if value is not None
    }


def test_both_sides_take_the_values_of_the_model():
    config = compose_config(
        "run_dir=x", "model.cell=gru", "model.units=8", "model.decoder.units=4", "model.layers=2"
    ).model
    resolved = resolve_model(config)
    sides = [(s.cell, s.units, s.layers) for s in (resolved.encoder, resolved.decoder)]
    assert sides == [("gru", 8, 2), ("gru", 4, 2)]
    assert resolved.bridge.state_h is resolved.bridge.state_c is config.bridge.kind
    assert resolved.attention.units == 4
    assert resolve_model(resolved) == resolved


def test_a_search_may_write_twice_the_max_target_tokens_and_its_end():
    assert resolve(compose_config("run_dir=x"), FACTS).decoding.max_length == 15


def test_a_run_keeps_what_later_processes_must_find_out_anew():
    config = compose_config(*OPTIONS)
    resolved = resolve(config, FACTS)
    kept = settings_to_keep(resolved, config)
    assert nulls(kept) - MEANT == {"optimizer.learning_rate.decay_steps"}
    assert resolve(kept, FACTS) == resolved
    longer = dataclasses.replace(kept, training=dataclasses.replace(kept.training, epochs=99))
    assert resolve(longer, FACTS).optimizer["learning_rate"]["decay_steps"] == 99 * 25 - 200
    on_a_gpu = dataclasses.replace(FACTS, has_gpu=True)
    assert resolve(kept, on_a_gpu).training == resolved.training


@pytest.mark.parametrize(
    ("examples", "epochs", "every"),
    [(1, 400, 7), (100, 360, 6), (1_000, 114, 2), (3_600, 60, 1), (108_000, 11, 1), (10**7, 5, 1)],
)
def test_a_larger_training_set_needs_more_steps_in_fewer_epochs(examples, epochs, every):
    config = compose_config("run_dir=x", "training.epochs=null", "training.evaluate_every=null")
    sized, chosen = by_size(config, examples)
    assert (sized.training.epochs, sized.training.evaluate_every) == (epochs, every)
    assert chosen == {"training.epochs": epochs, "training.evaluate_every": every}


def test_a_larger_training_set_gets_a_larger_model():
    config = compose_config("run_dir=x", "experiment=g2p", "data.train=a", "data.dev=b")
    small, large = (by_size(config, n)[0] for n in (29_999, 30_000))
    assert (small.model.units, small.model.dropout, small.training.batch_size) == (256, 0.4, 16)
    assert (large.model.units, large.model.dropout, large.training.batch_size) == (512, 0.2, 32)
    given = dataclasses.replace(config, model=dataclasses.replace(config.model, units=9))
    sized, chosen = by_size(given, 10**6)
    assert sized.model.units == 9
    names = {"batch_size", "epochs", "evaluate_every"}
    assert chosen.keys() == {"model.dropout", *(f"training.{name}" for name in names)}
    assert by_size(sized, 10) == (sized, {})
    with pytest.raises(UserError, match=r"model\.units=null follows the size"):
        resolve_model(config.model)


def test_directions_that_are_joined_are_half_as_wide_as_the_decoder():
    def encoder(*words):
        config = compose_config("run_dir=x", "model=attention", *words).model
        return resolve_model(config).encoder.units

    assert encoder("model.units=20") == 10
    assert encoder("model.units=20", "model.decoder.units=12") == 6
    assert encoder("model.units=20", "model.encoder.units=4") == 4
    assert encoder("model.units=20", "model.bridge.kind=dense") == 20
    assert encoder("model.units=20", "model.encoder.bidirectional=false") == 20


def test_decay_covers_the_whole_run():
    settings = compose_config("run_dir=x", "optimizer=adam_cosine").optimizer
    schedule = make_optimizer(resolve_optimizer(settings, 1000))._learning_rate
    assert schedule.decay_steps == 1000 - schedule.warmup_steps
    assert float(schedule(1000)) == pytest.approx(0.0, abs=1e-9)
    given = {**settings, "learning_rate": {**settings["learning_rate"], "decay_steps": 7}}
    assert make_optimizer(resolve_optimizer(given, 1000))._learning_rate.decay_steps == 7
    assert resolve_optimizer(settings, 100)["learning_rate"]["decay_steps"] == 1


@pytest.mark.parametrize(
    ("size", "parts", "of_small"),
    [(15, 1, 1), (16, 2, 2), (31, 1, 1), (36, 2, 2), (64, 2, 2), (128, 2, 4), (129, 1, 3)],
)
def test_a_batch_is_cut_by_cores_and_evenly(size, parts, of_small):
    settings = training(batch_size=size)
    large = dataclasses.replace(FACTS, parameters=10**6)
    assert resolve_training(settings, large).micro_batches == parts
    assert resolve_training(settings, FACTS).micro_batches == of_small
    in_bfloat16 = training(batch_size=size, precision="mixed_bfloat16")
    assert resolve_training(in_bfloat16, FACTS).micro_batches == parts
    on_a_gpu = dataclasses.replace(FACTS, has_gpu=True)
    compiled = training(batch_size=size, jit_compile=True)
    assert resolve_training(compiled, on_a_gpu).micro_batches == 1


@pytest.mark.parametrize(
    ("size", "kernel", "cache", "cores", "parts"),
    [
        (64, 512 * 2048, 2**21, 2, 1),  # an LSTM of 512 units
        (64, 512 * 1536, 2**21, 2, 1),  # a GRU
        (32, 1024 * 4096, 2**21, 2, 1),
        (128, 512 * 2048, 2**21, 2, 2),  # 64 rows a core hide the way of the kernel
        (64, 256 * 1024, 2**21, 2, 2),  # it stays in the cache
        (64, 512 * 2048, 0, 2, 2),  # no slow cache
        (64, 512 * 2048, 2**21, 4, 4),
    ],
)
def test_two_cores_share_a_kernel_that_comes_from_a_slow_cache(size, kernel, cache, cores, parts):
    changes = {"kernel_bytes": 4 * kernel, "cache_bytes": cache, "cores": cores}
    facts = dataclasses.replace(FACTS, parameters=10**7, **changes)
    assert resolve_training(training(batch_size=size), facts).micro_batches == parts
    in_bfloat16 = training(batch_size=size, precision="mixed_bfloat16")  # oneDNN's products
    assert resolve_training(in_bfloat16, facts).micro_batches == cores


@pytest.mark.parametrize(
    ("size", "units", "cores", "parts"),
    [
        (16, 1024, 2, 1),
        (128, 1024, 2, 1),
        (256, 1024, 2, 2),
        (64, 512, 2, 2),
        (64, 1024, 4, 4),
    ],
)
def test_two_cores_share_a_kernel_that_comes_from_memory(size, units, cores, parts):
    changes = {"kernel_bytes": 16 * units**2, "shared_bytes": 2**25, "cores": cores}
    facts = dataclasses.replace(FACTS, parameters=10**7, **changes)
    assert resolve_training(training(batch_size=size), facts).micro_batches == parts


def test_the_cache_of_a_core_is_plausible_or_unknown():
    size, shared = slow_cache_bytes(), shared_cache_bytes()
    assert size == 0 or 2**17 <= size <= 2**26
    assert shared == 0 or 2**18 <= shared <= 2**32


@pytest.mark.parametrize(
    ("precision", "changes", "expected"),
    [
        ("float32", {}, True),
        ("mixed_bfloat16", {}, False),
        ("float32", {"has_gpu": True}, False),
        ("float32", {"has_gpu": True, "has_cudnn": False}, True),
        ("mixed_bfloat16", {"has_gpu": True}, True),  # cuDNN's gradients in it are wrong
        ("float32", {"has_gpu": True, "steps_per_epoch": 1000}, True),  # 40 epochs
        ("float32", {"has_gpu": True, "steps_per_epoch": 1000, "shapes": 11}, False),
    ],
)
def test_xla_compiles_where_it_is_faster(precision, changes, expected):
    facts = dataclasses.replace(FACTS, **changes)
    settings = compose_config("run_dir=x", f"training.precision={precision}").training
    assert resolve_training(settings, facts).jit_compile is expected
    asked = dataclasses.replace(settings, jit_compile=True)
    assert resolve_training(asked, facts).jit_compile is True


def test_a_minute_of_a_cpu_is_a_short_training():
    per_epoch = 10**5 * 64 * (5 + 6) // 2 * 25
    assert is_short(24 * 10**11 // per_epoch, FACTS)
    assert not is_short(25 * 10**11 // per_epoch, FACTS)


@pytest.mark.parametrize(
    ("parameters", "steps"), [(10**3, 32), (10**6, 28), (3 * 10**7, 1), (10**9, 1)]
)
def test_small_models_take_many_steps_at_once(parameters, steps):
    facts = dataclasses.replace(FACTS, parameters=parameters)
    assert resolve_training(training(), facts).steps_per_execution == steps


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["training.micro_batches=5"], "micro_batches=5 does not divide .*batch_size=64"),
        (["decoding.n_best=2"], "n_best=2 needs decoding=beam"),
        (["decoding=beam", "decoding.n_best=9"], "n_best=9 is more than decoding.beam_size=5"),
        (
            ["decoding=beam", "decoding.max_length=1000000"],
            r"640 hypotheses of up to decoding\.max_length=1000000 tokens do not fit",
        ),
    ],
)
def test_contradictions_are_refused(overrides, words):
    with pytest.raises(UserError, match=words):
        check_settings(compose_config("run_dir=x", *overrides))
