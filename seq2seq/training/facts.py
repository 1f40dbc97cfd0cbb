"""Facts of a training: what its data, its model and the machine decide about settings."""

from __future__ import annotations

import math

from seq2seq.config.bounds import check_batch, check_model
from seq2seq.config.machine_rule import Facts
from seq2seq.config.schema import RunConfig
from seq2seq.data.batches import BatchPlan
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.hardware import cores, has_gpu, memory, shared_cache_bytes, slow_cache_bytes
from seq2seq.model.rnn.cells import cell_spec
from seq2seq.model.seq2seq import Seq2Seq, count_parameters
from seq2seq.training.strategy import ONE_REPLICA, Replicas


def refuse_too_much(config: RunConfig, plan: BatchPlan, vocabularies: Vocabularies) -> None:
    """Refuses what cannot fit into memory. A GPU has its own, and TensorFlow's own message."""
    if has_gpu():
        return
    targets = len(vocabularies.target)
    check_model(config.model, vocabularies.source_size, targets, memory())
    at_once = min(1.0, cores() / (config.training.micro_batches or 1))
    check_batch(config.model, plan.shapes[-1], targets, at_once, memory())


def facts_of(model: Seq2Seq, plan: BatchPlan, replicas: Replicas = ONE_REPLICA) -> Facts:
    """Returns the numbers that decide the settings left `null`."""
    cells = [str(part.cell) for part in (model.settings.encoder, model.settings.decoder)]
    return Facts(
        parameters=count_parameters(model),
        max_target_tokens=max(steps for _, _, steps in plan.shapes) - 1,  # less EOS
        steps_per_epoch=plan.steps,
        largest_batch=plan.shapes[-1],
        cores=max(1, cores() // replicas.local),
        replicas=replicas.count,
        has_gpu=has_gpu(),
        shapes=len(plan.shapes),
        has_cudnn=all(cell_spec(cell).layer.has_cudnn for cell in cells),
        kernel_bytes=largest_kernel(model),
        cache_bytes=slow_cache_bytes(),
        shared_bytes=shared_cache_bytes(),
    )


def largest_kernel(model: Seq2Seq) -> int:
    """Returns the bytes of the largest recurrent kernel in float32; 0 if a cell has none."""
    kernels = (w for w in model.trainable_weights if w.name == "recurrent_kernel")
    return max((math.prod(kernel.shape) * 4 for kernel in kernels), default=0)
