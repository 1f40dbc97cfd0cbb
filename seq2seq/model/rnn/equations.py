"""The interface of a cell's equations: one step forward, one step backward, in plain tensors.

A cell implements `Equations` in its own file; `loop.py` runs it over time. Splitting the backward
pass in two makes it fast: it is linear in the gradients that reach a step, and the factors of that
linear map (the local gradients) depend on the forward pass alone. They are computed for all T steps
in one elementwise pass, so that the backward loop only multiplies and adds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from seq2seq.model.types import Tensor

States = tuple[Tensor, ...]  # [B, U] each, state_h first
Saved = tuple[Tensor, ...]  # [B, …] each: arrays of a step, beside its states
LocalGradients = tuple[Tensor, ...]  # [T, B, U] each
Bounds = dict[str, tuple[float, float]]

SHARE = (0.0, 1.0)  # the range of a sigmoid
SIGNED = (-1.0, 1.0)  # the range of a tanh


class Equations(ABC):
    """A namespace of static methods; it is never instantiated.

    Shapes: G columns of projected input and R columns of recurrent product, both multiples of U.
    `weights` are the cell's further weights, such as peepholes; most cells have none.

    Attributes:
        saved_count: Number of arrays that `forward` saves.
        gradient_count: Number of arrays that `backward` returns for each step.
        state_names: Names of the states in Keras's order, `state_h` first.
        gate_names: Names of the gates in the order of `gates`.
        precise_states: States that the loop keeps in float32 at least. They add up over time, and
            bfloat16 has too few digits for that: from 256 on it cannot add 1.
        tanh_states: States that reach the output through a tanh, where they can saturate.
        bounds: The range of each bounded state and gate, for a state that starts inside it.
    """

    saved_count: ClassVar[int]
    gradient_count: ClassVar[int]
    state_names: ClassVar[tuple[str, ...]]
    gate_names: ClassVar[tuple[str, ...]]
    precise_states: ClassVar[frozenset[str]] = frozenset()
    tanh_states: ClassVar[frozenset[str]] = frozenset()
    bounds: ClassVar[Bounds]

    @staticmethod
    @abstractmethod
    def forward(
        x: Tensor, recurrent: Tensor, states: States, weights: tuple[Tensor, ...]
    ) -> tuple[States, Saved]:
        """Returns the states after one step, and the arrays to save for the backward pass.

        Args:
            x: Projected input `[B, G]`, bias included.
            recurrent: state_h times the recurrent kernel `[B, R]`.
            states: The states before the step.
            weights: Further weights.
        """

    @staticmethod
    @abstractmethod
    def local_gradients(
        saved: Saved, before: States, after: States, weights: tuple[Tensor, ...]
    ) -> LocalGradients:
        """Returns the factors of the backward pass for all steps at once.

        Args:
            saved: The saved arrays of all steps `[T, B, …]`.
            before: The states before every step `[T, B, U]`.
            after: The states after every step `[T, B, U]`.
            weights: Further weights.
        """

    @staticmethod
    @abstractmethod
    def backward(local: LocalGradients, d_after: States) -> tuple[Saved, States]:
        """Takes the gradients of a step's states back through the step.

        Args:
            local: The local gradients of this step `[B, U]`.
            d_after: Gradients by the states after the step `[B, U]`.

        Returns:
            Gradients of this step, that by the recurrent product `[B, R]` first; and the gradients
            by the states before the step, without the path through the recurrent product.
        """

    @staticmethod
    @abstractmethod
    def input_gradient(gradients: Saved) -> Tensor:
        """Returns the gradient by the projected input `[T, B, G]` from those of `backward`."""

    @staticmethod
    def weight_gradients(gradients: Saved, before: States, after: States) -> tuple[Tensor, ...]:
        """Returns the gradients by the further weights, summed over all steps and rows."""
        return ()

    @staticmethod
    @abstractmethod
    def gates(saved: Saved, before: States) -> tuple[Tensor, ...]:
        """Returns the gates of all steps `[T, B, U]` in the order of `gate_names`."""
