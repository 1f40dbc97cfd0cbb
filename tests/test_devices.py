"""Choice of the device, and of the loop and the compilation on a GPU, with a faked one."""

import logging

import numpy as np
import pytest
import tensorflow as tf
from project import compose_config
from small_trainings import TOY

from seq2seq import hardware
from seq2seq.config import device as device_setting
from seq2seq.errors import UserError
from seq2seq.model.rnn.compiled import can_call_cudnn, compiled, without_cudnn
from seq2seq.model.rnn.gru import GRU
from seq2seq.model.rnn.lstm import LSTM
from seq2seq.model.rnn.simple_rnn import SimpleRNN
from seq2seq.training.run import train

GPU = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")


class Machine:
    """What TensorFlow is told and tells; `gpus` are those that it finds."""

    def __init__(self, monkeypatch, driver, gpus):
        self.growing, self.visible = [], [*gpus]
        config, more = tf.config, tf.config.experimental
        monkeypatch.setattr(device_setting, "_DRIVER", driver)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(config, "list_physical_devices", lambda kind: [*gpus])
        monkeypatch.setattr(config, "get_visible_devices", lambda kind: self.visible)
        monkeypatch.setattr(config, "set_visible_devices", self.show)
        monkeypatch.setattr(more, "set_memory_growth", lambda gpu, on: self.growing.append(gpu))
        monkeypatch.setattr(more, "get_device_details", lambda gpu: {"device_name": "Card 9"})
        monkeypatch.setattr(more, "tensor_float_32_execution_enabled", lambda: True)

    def show(self, devices, kind):
        assert kind == "GPU"
        self.visible = devices


@pytest.fixture
def machine(monkeypatch, tmp_path):
    def make(*gpus, has_driver=True):
        driver = tmp_path / "version"
        if has_driver:
            driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module")
        return Machine(monkeypatch, driver, gpus)

    return make


@pytest.mark.parametrize("device", ["auto", "gpu"])
def test_a_gpu_computes_and_leaves_memory_to_others(machine, device, caplog):
    found = machine(GPU)
    device_setting.use_device(device)
    assert found.growing == [GPU]
    assert hardware.has_gpu()
    assert hardware.device_name() == "GPU, Card 9"
    assert hardware.multiplies_as_tf32()
    assert caplog.messages == []


def test_the_cpu_can_be_asked_for(machine, caplog):
    found = machine(GPU)
    device_setting.use_device("cpu")
    assert found.growing == []
    assert not hardware.has_gpu()
    assert not hardware.multiplies_as_tf32()
    assert hardware.device_name().startswith(f"CPU, {hardware.cores()} core")
    assert caplog.messages == []


def test_a_gpu_that_is_not_there_is_refused(machine):
    machine()
    with pytest.raises(UserError, match=r"^device=gpu: .* no GPU; .*pip install \"seq2seq\[cuda"):
        device_setting.use_device("gpu")


def test_a_gpu_that_tensorflow_misses_is_named(machine, caplog, monkeypatch):
    caplog.set_level(logging.WARNING)
    machine()
    device_setting.use_device("cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # The user has hidden it.
    device_setting.use_device("auto")
    assert caplog.messages == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    device_setting.use_device("auto")
    [message] = caplog.messages
    assert "NVIDIA GPU that TensorFlow does not see" in message
    assert "LD_LIBRARY_PATH" in message


def test_a_machine_without_one_says_nothing(machine, caplog):
    machine(has_driver=False)
    device_setting.use_device("auto")
    assert caplog.messages == []


@pytest.fixture
def beside_a_gpu(monkeypatch):
    monkeypatch.setattr("seq2seq.model.rnn.compiled.has_gpu", lambda: True)


@pytest.mark.parametrize("layer", [LSTM, GRU])
def test_cudnn_computes_in_float32_and_outside_xla(layer, beside_a_gpu):
    assert not layer(2).is_fast
    assert layer(2, dtype="mixed_bfloat16").is_fast
    assert SimpleRNN(2).is_fast  # cuDNN's layers are called for LSTM and GRU alone.
    seen = {}

    def outer():
        seen["outer"] = can_call_cudnn("float32")
        return inner()

    def look():
        seen["inner"] = can_call_cudnn("float32")
        return tf.constant(0)

    inner = compiled(look, jit_compile=False)
    compiled(outer, jit_compile=False)()
    assert seen == {"outer": True, "inner": True}
    inner = compiled(look, jit_compile=False)
    compiled(outer, jit_compile=True)()
    assert seen == {"outer": False, "inner": False}
    with without_cudnn():
        assert not can_call_cudnn("float32")
    assert can_call_cudnn("float32")


@pytest.mark.parametrize("layer", [LSTM, GRU])
def test_xla_compiles_our_loop_beside_a_gpu(layer, beside_a_gpu):
    x = np.random.default_rng(1).normal(size=(3, 5, 4)).astype("float32")
    one = layer(6, return_sequences=True)
    left_to_keras = one(x)
    ours = compiled(lambda x: one(x), jit_compile=True)(x)
    np.testing.assert_allclose(ours, left_to_keras, atol=1e-6)


def gradients_of(layer, x, mask):
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x, mask=mask)
            loss = tf.add_n([tf.reduce_sum(one**2) for one in outputs])
        return *outputs, *tape.gradient(loss, [x, *(w.value for w in layer.trainable_variables)])

    return compiled(run, jit_compile=True)(x)


@pytest.mark.parametrize("layer", [LSTM, GRU])
@pytest.mark.parametrize("go_backwards", [False, True])
def test_all_steps_are_run_beside_a_gpu(layer, go_backwards, monkeypatch):
    """XLA knows the number of steps there; on a CPU the steps that are masked for all are left."""
    x = tf.constant(np.random.default_rng(3).normal(size=(3, 7, 4)), "float32")
    mask = np.array([[0, 0, 1, 1, 0, 1, 0], [0, 0, 0, 1, 1, 0, 0], [0] * 7], bool)
    one = layer(6, return_sequences=True, return_state=True, go_backwards=go_backwards)
    on_a_cpu = gradients_of(one, x, mask)
    monkeypatch.setattr("seq2seq.model.rnn.loop.has_gpu", lambda: True)
    for found, expected in zip(gradients_of(one, x, mask), on_a_cpu, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


MASKS = {
    "right": np.arange(5) < np.array([[5], [2], [1]]),
    "a row of padding": np.arange(5) < np.array([[5], [0], [1]]),
    "left": np.arange(5) >= np.array([[0], [3], [4]]),
    "holes": np.array([[1, 0, 1, 1, 0], [1, 1, 1, 1, 1], [0, 1, 0, 0, 1]], bool),
}


@pytest.mark.parametrize("layer", [LSTM, GRU])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("mask", MASKS)
def test_masked_steps_are_those_of_our_loop(layer, zeros, go_backwards, mask, monkeypatch):
    """cuDNN takes padding on the right, and writes zeros; Keras's own loop stands for it."""
    x = np.random.default_rng(2).normal(size=(3, 5, 4)).astype("float32")
    sequences = {"return_sequences": True, "return_state": True, "go_backwards": go_backwards}
    one = layer(6, **sequences, zero_output_for_mask=zeros)
    ours = one(x, mask=MASKS[mask])
    monkeypatch.setattr("seq2seq.model.rnn.layer.can_call_cudnn", lambda dtype: True)
    base = next(one for one in layer.__mro__ if one.__module__.startswith("keras."))
    own, calls = base.inner_loop, []

    def with_zeros(self, sequences, initial_state, mask, training=False):
        calls.append(mask)
        last, sequence, final = own(self, sequences, initial_state, mask, training)
        in_order = mask[:, ::-1] if go_backwards else mask
        return last, tf.where(in_order[..., None], sequence, 0.0), final

    monkeypatch.setattr(base, "inner_loop", with_zeros)
    for found, expected in zip(one(x, mask=MASKS[mask]), ours, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert len(calls) == (mask == "right")


def test_the_start_says_how_a_gpu_computes(tmp_path, monkeypatch, capsys, caplog):
    caplog.set_level(logging.INFO)
    for room in ("facts", "terminal"):
        monkeypatch.setattr(f"seq2seq.training.{room}.has_gpu", lambda: True)
    small = [word for word in TOY if "training.jit_compile" not in word]
    train(compose_config(*small, "training.epochs=1"), tmp_path / "r")
    assert ", not compiled" in capsys.readouterr().out
    assert any("this training is short" in message for message in caplog.messages)
