"""Vocabularies of many words: the same numbers, and memory that does not grow with V · T."""

import numpy as np
import pytest
import tensorflow as tf
from project import ROOT, run_process
from test_seq2seq import SOURCE, TARGET_IN, random_model

from seq2seq.model import output
from seq2seq.model.losses import token_sums

TARGET_OUT = np.array([[4, 5, 6, 3], [7, 7, 3, 0], [5, 3, 0, 0]], np.int32)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_equals_the_sums_of_the_model_s_logits(compose, monkeypatch, tied, training):
    monkeypatch.setattr(output, "_LARGE_VOCABULARY", 2)
    more = ["model.input=embedding", "model.tied_output=true"] if tied else []
    model = random_model(
        compose, "model=attention", "model.encoder.units=3", "model.dropout=0", *more
    )

    def measured(sums):
        with tf.GradientTape() as tape:
            found = sums()
        if not training:
            return list(found)
        gradients = tape.gradient(found.objective, model.trainable_variables)
        return [*found, *map(tf.convert_to_tensor, gradients)]

    def of_logits():
        logits = model({"source": SOURCE, "target_in": TARGET_IN}, training=training)
        return token_sums(logits, TARGET_OUT, 0.1)

    ours = measured(lambda: model.token_sums(SOURCE, TARGET_IN, TARGET_OUT, 0.1, training))
    for a, b in zip(ours, measured(of_logits), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


TRAIN = """
import sys
import numpy as np
import tensorflow as tf
from seq2seq.config.schema import RunConfig
from seq2seq.data.batches import Batch
from seq2seq.model.seq2seq import build_model
from seq2seq.config.load import from_hydra, register
from seq2seq.training.keras_objects import make_optimizer
from seq2seq.training.step import compile_training
from hydra import compose, initialize_config_dir

register()
with initialize_config_dir(sys.argv[1], version_base="1.3"):
    settings = ["run_dir=x", "model.units=8", "optimizer=sgd", "training.batch_size=64",
                "training.micro_batches=2", "training.jit_compile=true"]
    cfg = from_hydra(compose("train", settings), RunConfig)
model = build_model(cfg.model, 50_000, 50_000)
optimizer = make_optimizer(cfg.optimizer)
optimizer.build(model.trainable_variables)
step = compile_training(model, optimizer, cfg.training)
rng = np.random.default_rng(0)

def train(time):
    batch = Batch(*(rng.integers(4, 50_000, (64, time)).astype("int32") for _ in range(3)))
    step(iter(tf.data.Dataset.from_tensors(batch)), tf.constant(1))
    with open("/proc/self/status") as status:  # `resource` begins with the peak of the parent
        return int(status.read().split("VmHWM:")[1].split()[0])

short = train(8)
print((train(64) - short) * 1024)
"""


def test_fifty_thousand_words_need_no_tensor_of_time_by_vocabulary(tmp_path):
    """One `[64, 64, 50000]` of float32 were 819 MB; what eight times the time adds is far less."""
    (tmp_path / "train_steps.py").write_text(TRAIN)
    result = run_process("train_steps.py", ROOT / "configs", cwd=tmp_path)
    assert result.returncode == 0, result.stderr.decode()
    assert int(result.stdout) < 300e6
