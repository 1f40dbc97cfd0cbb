"""Data-parallel training on `tf.distribute`: replicas with the same weights share every batch.

A replica is a device with a copy of all variables. Each computes the gradients of its rows of a
batch, those of all are added up, and each makes the same update. With one replica all of this is
the identity, so that `step.py` has one definition of a step.

A process with replicas is a worker. The worker with number 0, the chief, decides what must be the
same for all, such as the score of an epoch, and it alone writes the run folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

import keras
import tensorflow as tf

from seq2seq.config.choices import Strategy
from seq2seq.config.schema import TrainingConfig
from seq2seq.config.workers import ALONE, LOST_WORKER, Cluster, find_cluster
from seq2seq.errors import UserError

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Tensors = list[tf.Tensor]

_BLOCK = 1024  # numbers; a message has a multiple of them, so that few shapes are traced

_LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
)


class LostWorkerError(UserError):
    """Another worker has ended, or cannot be reached."""

    exit_code = LOST_WORKER


@dataclass(frozen=True)
class Replicas:
    """The replicas of a training.

    Attributes:
        engine: Of `tf.distribute`.
        local: Number of replicas in this process.
        cluster: The workers, and which of them this process is.
    """

    engine: tf.distribute.Strategy
    local: int = 1
    cluster: Cluster = ALONE

    @property
    def count(self) -> int:
        """The number of replicas of all workers."""
        return self.local * self.cluster.size

    @property
    def is_chief(self) -> bool:
        """Whether this process decides and writes."""
        return self.cluster.number == 0

    def scope(self) -> AbstractContextManager[Any]:
        """Returns the context in which model and optimizer are built."""
        return self.engine.scope()

    def share_gradients(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Tells an optimizer that the gradients it is given are those of all replicas.

        Keras adds them up inside `apply`, when it has clipped those of each replica. They have to
        be clipped together, and are added up before.

        Raises:
            UserError: It adds up the gradients of several steps, which Keras cannot do here.
        """
        if self.count > 1:
            if optimizer.gradient_accumulation_steps:
                raise UserError(
                    f"optimizer.gradient_accumulation_steps is not possible with {self.count} "
                    "replicas: raise training.batch_size instead"
                )
            optimizer._all_reduce_sum_gradients = list

    def run(self, step: Callable[..., Any], *arguments: Any) -> Any:
        """Runs a step on every replica; returns the result of one, which all have alike."""
        result = self.engine.run(step, arguments)
        return tf.nest.map_structure(self._first, result)

    def _first(self, value: Any) -> tf.Tensor:
        return self.engine.experimental_local_results(value)[0]

    # The next five are called inside a step, on each replica.

    def read(self, variable: keras.Variable) -> Any:
        """Returns the value of this replica's copy of a variable."""
        return variable.value if self.count == 1 else tf.convert_to_tensor(variable.value)

    def own_rows(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns this replica's part of the rows `[B, ...]` of this process."""
        if self.local == 1:
            return rows
        return tf.stack(tf.split(rows, self.local))[self._number() % self.local]

    def first_part(self, parts: int) -> Any:
        """Returns the number of this replica's first part of a batch, of `parts` each."""
        return 0 if self.count == 1 else self._number() * parts

    def add_up(self, tensors: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
        """Returns the sums of float32 tensors over all replicas."""
        if self.count == 1:
            return tensors
        # One message is faster than one per tensor.
        flat = tf.concat([tf.reshape(one, [-1]) for one in tensors], axis=0)
        total = _context().all_reduce(tf.distribute.ReduceOp.SUM, flat)
        sizes = tf.stack([tf.size(one) for one in tensors])
        parts = tf.split(total, sizes, num=len(tensors))
        return [tf.reshape(p, tf.shape(one)) for p, one in zip(parts, tensors, strict=True)]

    def assign(self, variable: keras.Variable, value: tf.Tensor) -> None:
        """Gives a variable a value that all replicas have alike."""
        if self.count == 1:
            variable.assign(value)
            return

        def assign_all(engine: tf.distribute.Strategy, value: Any) -> None:
            engine.extended.update(variable.value, lambda own, new: own.assign(new), (value,))

        _context().merge_call(assign_all, (value,))

    def _number(self) -> Any:
        return _context().replica_id_in_sync_group

    # The next two are called between steps, by all workers alike.

    def from_chief(self, make: Callable[[], Result]) -> Result:
        """Returns what the chief makes, a value of JSON. The others wait for it.

        Raises:
            LostWorkerError: Another worker has gone.
        """
        if self.cluster.size == 1:
            return make()
        text = json.dumps(make()).encode() if self.is_chief else b""
        [size] = self._sums([len(text)])
        numbers = [*text] or [0] * size
        found: Result = json.loads(bytes(self._sums(numbers)))
        return found

    def largest(self, number: int) -> int:
        """Returns the largest of the workers' numbers, which are not negative.

        Raises:
            LostWorkerError: Another worker has gone.
        """
        if self.cluster.size == 1:
            return number
        own = [0] * self.cluster.size
        own[self.cluster.number] = number
        return max(self._sums(own))

    def _sums(self, numbers: Sequence[int]) -> list[int]:
        """Returns the sums of whole numbers over the workers."""
        filled = [*numbers, *[0] * (-len(numbers) % _BLOCK)]
        with self.telling_losses():
            total = self._first(_total(self, tf.constant(filled, tf.int32)))
        sums: list[int] = total.numpy()[: len(numbers)].tolist()
        return sums

    @contextlib.contextmanager
    def telling_losses(self) -> Iterator[None]:
        """Raises `LostWorkerError` in place of TensorFlow's errors about other workers."""
        try:
            yield
        except _LOST as error:
            if self.cluster.size == 1:
                raise
            raise LostWorkerError("another worker has ended, or cannot be reached") from error


ONE_REPLICA = Replicas(tf.distribute.get_strategy())


@tf.function(autograph=False)
def _total(replicas: Replicas, numbers: tf.Tensor) -> Any:
    def add() -> tf.Tensor:
        context = _context()
        is_first = context.replica_id_in_sync_group % replicas.local == 0
        own = tf.where(is_first, numbers, tf.zeros_like(numbers))
        return context.all_reduce(tf.distribute.ReduceOp.SUM, own)

    return replicas.engine.run(add)


def _context() -> tf.distribute.ReplicaContext:
    context = tf.distribute.get_replica_context()
    assert context is not None
    return context


def make_replicas(settings: TrainingConfig) -> Replicas:
    """Sets up the devices and the connections that the settings ask for.

    Called before TensorFlow computes anything.

    Raises:
        UserError: There are no such devices, or `TF_CONFIG` does not say who the workers are.
    """
    cluster = find_cluster()
    if settings.replicas is not None and settings.strategy is not Strategy.mirrored:
        raise UserError(
            f"training.replicas={settings.replicas} is for training.strategy=mirrored, not "
            f"{settings.strategy}"
        )
    if settings.strategy is Strategy.multi_worker:
        if cluster is None or cluster.size == 1:
            raise UserError(
                "training.strategy=multi_worker: TF_CONFIG names no other worker; set it for each, "
                "or start several on this machine with workers=N"
            )
        engine = tf.distribute.MultiWorkerMirroredStrategy()
        return Replicas(engine, engine.num_replicas_in_sync // cluster.size, cluster)
    if cluster is not None and cluster.size > 1:
        raise UserError(
            f"TF_CONFIG names {cluster.size} workers, but with "
            f"training.strategy={settings.strategy} each would train a run of its own: choose "
            "training.strategy=multi_worker, or unset TF_CONFIG"
        )
    if settings.strategy is Strategy.mirrored:
        devices = _devices(settings.replicas)
        return Replicas(tf.distribute.MirroredStrategy(devices), len(devices))
    return ONE_REPLICA


def adapted(settings: TrainingConfig, before: int, count: int) -> TrainingConfig:
    """Returns the settings of a run that `before` replicas trained, for `count`; warns of a change.

    A batch stays the same, but its parts may not.
    """
    if before == count:
        return settings
    parts = settings.micro_batches
    is_divided = parts is None or parts % count == 0
    log.warning(
        "%d replicas go on with what %d have trained: %s",
        count,
        before,
        "the numbers will differ by rounding" if is_divided else "dropout takes other units",
    )
    return settings if is_divided else dataclasses.replace(settings, micro_batches=count)


def _devices(count: int | None) -> list[str]:
    """Returns the names of devices: GPUs, or equal parts of the CPU where there is none."""
    gpus = tf.config.get_visible_devices("GPU")
    if gpus:
        if count is not None and count > len(gpus):
            raise UserError(f"training.replicas={count}: there are {len(gpus)} GPUs")
        return [f"GPU:{number}" for number in range(count or len(gpus))]
    if count is None:
        raise UserError(
            "training.strategy=mirrored: there is no GPU; training.replicas=2 takes parts of the "
            "CPU instead"
        )
    [cpu] = tf.config.list_physical_devices("CPU")
    parts = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
    tf.config.set_logical_device_configuration(cpu, parts)
    return [f"CPU:{number}" for number in range(count)]
