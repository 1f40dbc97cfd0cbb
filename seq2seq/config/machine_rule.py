"""Rules by which a training and a search follow the machine: compilation, parts, steps per call."""

from __future__ import annotations

from dataclasses import dataclass

from seq2seq.config.choices import Precision

# The settings of a training that these rules decide.
OF_MACHINE = ("jit_compile", "micro_batches", "steps_per_execution")

# A part of fewer rows does not keep a core busy.
_MIN_ROWS_PER_PART = 8
_MIN_ROWS_OF_SMALL = 32  # with two parts per core

# Up to this size, more micro-batches than cores are worth the addition of their gradients: one is
# computed while another is on its way into an XLA program or out of it. Measured on LSTMs: 178,000
# weights train a tenth faster, 640,000 do not.
_MAX_SMALL_PARAMETERS = 2**18

# On an Intel Xeon (Sapphire Rapids) a kernel takes about 55 / rows times as long to come from the
# shared cache as to be multiplied by so many rows.
_MAX_FEW_ROWS = 32

# A kernel of more than this share of the shared cache does not stay in it between two steps, beside
# all else that a step touches: measured at a half on an AMD EPYC, where up to 128 rows pay.
_SHARE_OF_CACHE = 1 / 4
_MAX_ROWS_FROM_MEMORY = 128

# About a quarter of a second on two cores, and a minute.
_MULTIPLICATIONS_PER_CALL = 10**10
_FEW_MULTIPLICATIONS = 240 * _MULTIPLICATIONS_PER_CALL

# On a GPU: XLA takes 10 to 20 seconds for a shape, and saves 3 to 5 ms a step (NVIDIA H200).
_STEPS_FOR_A_COMPILATION = 4000

# A call cannot be interrupted: Ctrl-C is answered after its last step.
_MAX_STEPS_PER_CALL = 32


@dataclass(frozen=True)
class Facts:
    """Numbers that decide the settings left `null`.

    Attributes:
        parameters: Trained weights of the model.
        max_target_tokens: Length of the longest training target, without its end.
        steps_per_epoch: Batches of one epoch.
        largest_batch: Rows, source steps and target steps of the largest batch.
        cores: CPU cores that a replica may use.
        has_gpu: Whether a GPU computes.
        shapes: Number of shapes of batches.
        has_cudnn: Whether cuDNN has the cells of encoder and decoder.
        kernel_bytes: Size of the largest recurrent kernel in float32.
        cache_bytes: Size of a core's own (second-level) cache where the shared one is slow, as on
            Intel's processors; 0: it is not, or nothing is known.
        shared_bytes: Size of the cache that the cores share; 0: nothing is known.
        replicas: Number of devices that share each batch.
    """

    parameters: int
    max_target_tokens: int
    steps_per_epoch: int
    largest_batch: tuple[int, int, int]
    cores: int
    has_gpu: bool
    shapes: int
    has_cudnn: bool
    kernel_bytes: int
    cache_bytes: int
    shared_bytes: int
    replicas: int = 1


def is_compiled(precision: Precision, steps: int, facts: Facts) -> bool:
    """Tells whether XLA compiles a training of this number of steps; `rnn/compiled.py` says more.

    On a CPU XLA multiplies bfloat16 matrices more slowly than float32 ones; oneDNN, outside XLA,
    multiplies them up to twice as fast. On a GPU our loop under XLA is faster than cuDNN, which is
    faster than our loop without; what XLA saves must outlast its compilation of each shape.
    """
    if not facts.has_gpu:
        return precision is Precision.float32
    is_long = steps >= _STEPS_FOR_A_COMPILATION * facts.shapes
    return is_long or precision is not Precision.float32 or not facts.has_cudnn


def micro_batches(size: int, jit_compile: bool, facts: Facts) -> int:
    """Returns the number of equal parts of a batch of `size` rows that keeps the cores busiest.

    One per core, but none of fewer than 8 rows; for a small model under XLA two per core, if each
    then has 32 rows. A GPU computes a batch as a whole, and so do two cores if the recurrent kernel
    comes from a slow cache, or from memory, at every step.
    """
    if facts.has_gpu or (jit_compile and _is_better_whole(size, facts)):
        return 1
    limit = min(facts.cores, size // _MIN_ROWS_PER_PART)
    is_small = jit_compile and facts.parameters <= _MAX_SMALL_PARAMETERS
    if is_small and size >= 2 * facts.cores * _MIN_ROWS_OF_SMALL:
        limit = 2 * facts.cores
    return next(n for n in range(max(1, limit), 0, -1) if size % n == 0)


def _is_better_whole(size: int, facts: Facts) -> bool:
    """Tells whether a batch that is not cut saves more than it costs.

    With a part for each core, each core reads the whole kernel at every step. XLA cuts the product
    of a whole batch by columns instead, so that a core reads its share; but everything beside the
    products, a quarter of the time, then runs on one core. `docs/speed.md` has the model, and what
    it is made of.
    """
    if facts.cores != 2:
        return False
    is_from_memory = 0 < _SHARE_OF_CACHE * facts.shared_bytes < facts.kernel_bytes
    is_from_slow_cache = 0 < facts.cache_bytes < facts.kernel_bytes
    return (is_from_memory and size <= _MAX_ROWS_FROM_MEMORY) or (
        is_from_slow_cache and size <= 2 * _MAX_FEW_ROWS
    )


def steps_per_call(facts: Facts) -> int:
    """Returns the number of steps that take about a quarter of a second on a present-day laptop.

    Small models notice the way back to Python after each step; large ones would only be late to
    see a signal.
    """
    return max(1, min(_MAX_STEPS_PER_CALL, _MULTIPLICATIONS_PER_CALL // _multiplications(facts)))


def is_short(epochs: int, facts: Facts) -> bool:
    """Tells whether a training takes no more than a minute or two on a CPU.

    A GPU spends that time on compilation, and on launches: the toy took one of an NVIDIA H200 twice
    as long as the 16 cores beside it.
    """
    return epochs * facts.steps_per_epoch * _multiplications(facts) < _FEW_MULTIPLICATIONS


def _multiplications(facts: Facts) -> int:
    """Returns those of the forward pass of the largest batch."""
    rows, source, target = facts.largest_batch
    # Half of the weights are the encoder's, which take part in source steps only; half are the
    # decoder's.
    return max(1, facts.parameters * rows * (source + target) // 2)
