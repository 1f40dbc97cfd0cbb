"""Encoder and decoder of a model as Keras models that can be saved alone."""

from __future__ import annotations

import abc
import json
import os
from typing import Any, Self

import keras


class Exportable:
    """The method `export` of a Keras model whose exported form is another Keras model."""

    @abc.abstractmethod
    def export_model(self) -> keras.Model:
        """Returns the model that is exported."""

    def export(
        self,
        filepath: str | os.PathLike[str],
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        **options: Any,
    ) -> None:
        """Exports `export_model()`; arguments are those of `keras.Model.export`."""
        self.export_model().export(filepath, format, verbose, input_signature, **options)


class ModelPart(Exportable, keras.Model):
    """A functional model over some layers of a `Seq2Seq`.

    Keras saves a functional model as a graph of layer calls, and cannot restore nested states and
    memories from it. A part saves the configuration of its whole model instead, and the weights of
    its own layers. Loading creates a whole model and returns the part of it.

    `keras.models.clone_model` copies the graph of any functional model, whatever its `get_config`,
    and fails here: clone the whole model and take the part of the clone.

    Attributes:
        NAME: Name of the model, and of the attribute of the whole model that holds it.
    """

    NAME: str

    def __init__(self, whole: keras.Model, inputs: Any, outputs: Any) -> None:
        """Creates the functional model.

        Args:
            whole: The model whose layers these are.
            inputs: Symbolic tensors, in any structure.
            outputs: Symbolic tensors, in any structure.
        """
        super().__init__(inputs=inputs, outputs=outputs, name=self.NAME)
        kind = keras.saving.get_registered_name(type(whole))
        # Not `serialize_keras_object(whole)`, which adds the loss and the optimizer of a compiled
        # model: a part needs neither, and Keras refuses to load a loss that is a lambda.
        saved = {"class_name": kind, "registered_name": kind, "config": whole.get_config()}
        # Text and not the model: Keras would count all weights of an attribute as the part's own.
        self._whole = json.dumps({"module": None, **saved})

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration of the whole model."""
        return {"whole": json.loads(self._whole)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Returns the part of a new whole model."""
        whole = keras.saving.deserialize_keras_object(config["whole"], custom_objects)
        part = getattr(whole, cls.NAME)
        assert isinstance(part, cls)
        return part

    def export_model(self) -> keras.Model:
        """Returns the model with flat dictionaries as input and output.

        Exported functions cannot have nested outputs. Names are paths: `memory_values`,
        `state_layers_0_1`. Outputs are named like the inputs that they become at the next step.
        """
        given, found = self._inputs_struct, self._outputs_struct
        # A single input has its own name as its path.
        names = path_names(given, self.inputs[0].name if len(self.inputs) == 1 else "")
        inputs = keras.tree.map_structure(
            lambda tensor, name: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=name),
            given,
            names,
        )
        outputs = self(inputs)
        return keras.Model(
            dict(zip(*map(keras.tree.flatten, (names, inputs)), strict=True)),
            dict(zip(*map(keras.tree.flatten, (path_names(found), outputs)), strict=True)),
        )


def path_names(structure: Any, path: str = "") -> Any:
    """Returns the structure with each tensor replaced by its path, joined by `_`."""

    def below(step: str | int, value: Any) -> Any:
        return path_names(value, f"{path}_{step}" if path else str(step))

    if isinstance(structure, dict):
        return {key: below(key, value) for key, value in structure.items()}
    if hasattr(structure, "_asdict"):
        fields = structure._asdict()
        return type(structure)(*(below(key, value) for key, value in fields.items()))
    if isinstance(structure, (list, tuple)):
        return type(structure)(below(i, value) for i, value in enumerate(structure))
    return path


@keras.saving.register_keras_serializable(package="seq2seq")
class EncoderModel(ModelPart):
    """`Seq2Seq.encoder_model`."""

    NAME = "encoder_model"


@keras.saving.register_keras_serializable(package="seq2seq")
class DecoderModel(ModelPart):
    """`Seq2Seq.decoder_model`."""

    NAME = "decoder_model"
