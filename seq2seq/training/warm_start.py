"""Warm start (`init_from=RUN_DIR`): a new run begins with the best weights of another one.

The vocabularies are those of the other run, followed by the tokens that are new in the data. Only
the weights of new tokens are initialized; the optimizer begins anew.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from seq2seq.config.load import compose, flatten
from seq2seq.config.schema import RunConfig
from seq2seq.data.tsv import has_features
from seq2seq.data.vocabulary import Vocabularies
from seq2seq.errors import UserError
from seq2seq.inference.members import load_model
from seq2seq.model.decoder_kinds import FeatureDecoder
from seq2seq.model.seq2seq import Seq2Seq
from seq2seq.runs.run_dir import RunDir
from seq2seq.training.state import Weights, copy_weights

log = logging.getLogger(__name__)

# Settings that say what the weights mean.
_INHERITED = (
    "model.",
    "data.source.tokens",
    "data.target.tokens",
    "data.features.separator",
    "data.normalization",
    "data.source.normalization",
    "data.target.normalization",
    "data.reverse_target",
)


@dataclass(frozen=True)
class Base:
    """The run that a new one begins with.

    Attributes:
        run: Its folder.
        config: Its settings.
        vocabularies: Its vocabularies.
        weights: Its best weights, in the order of `model.weights`.
    """

    run: RunDir
    config: RunConfig
    vocabularies: Vocabularies
    weights: Weights

    @classmethod
    def load(cls, name: str) -> Base:
        """Reads a run folder, or the newest one below `outputs` as `latest`.

        Raises:
            UserError: The folder is not a complete run, or is damaged.
        """
        run = RunDir.find(name, setting="init_from")
        config = run.load_config()
        vocabularies = Vocabularies.load(*run.vocabularies, config.data.reverse_target)
        weights = copy_weights(load_model(run, config, vocabularies))
        return cls(run, config, vocabularies, weights)

    def settings_for(self, config: RunConfig, hydra_record: Mapping[str, str]) -> RunConfig:
        """Returns the settings of a new run with the model and the tokens of this one.

        Raises:
            UserError: The new run asks for others: a value is not the default, or is on the command
                line.
        """
        said = yaml.safe_load(hydra_record.get("overrides.yaml", "[]"))
        said = {word.lstrip("+").partition("=")[0] for word in said}
        default = compose(f"data={config.data.task}", "run_dir=x")
        new, old, usual = (flatten(dataclasses.asdict(c)) for c in (config, self.config, default))
        for key in filter(lambda key: key.startswith(_INHERITED), new):
            is_asked_for = new[key] is not None and (new[key] != usual[key] or key in said)
            if is_asked_for and new[key] != old[key]:
                raise UserError(
                    f"{key}={new[key]}: init_from={self.run.path} was trained with {old[key]}; "
                    f"leave out {key}, or start without init_from"
                )
        if self.vocabularies.features is not None and not has_features(config.data):
            raise UserError(
                f"init_from={self.run.path} reads features: add data.features.column=..., or name "
                "the files of each tag"
            )
        before, data = self.config.data, config.data
        data = dataclasses.replace(
            data,
            source=dataclasses.replace(before.source, column=data.source.column),
            target=dataclasses.replace(before.target, column=data.target.column),
            features=dataclasses.replace(data.features, separator=before.features.separator),
            normalization=before.normalization,
            reverse_target=before.reverse_target,
        )
        path = str(self.run.path.absolute())
        return dataclasses.replace(config, init_from=path, model=self.config.model, data=data)

    def initialize(self, model: Seq2Seq, vocabularies: Vocabularies) -> None:
        """Gives a model of extended vocabularies the weights of this run.

        Weights of new tokens keep the values that the model was built with.
        """
        old = self.vocabularies
        # Feature ids follow source ids, and so move up if there are new source tokens.
        features = np.arange(old.feature_size) + len(vocabularies.source)
        source_ids = np.concatenate([np.arange(len(old.source)), features])
        ids_of = dict.fromkeys(map(id, model.weights), np.arange(len(old.target)))
        ids_of |= dict.fromkeys(map(id, model.encoder.weights), source_ids)
        if isinstance(model.decoder, FeatureDecoder):
            feature_ids = np.arange(old.feature_size)
            ids_of |= dict.fromkeys(map(id, model.decoder.features.weights), feature_ids)
        for weight, before in zip(model.weights, self.weights, strict=True):
            ids = ids_of[id(weight)]
            weight.assign(_with_rows(weight.numpy(), before, ids))
        log.info(
            "starts from %s: %d new source and %d new target tokens",
            self.run.path,
            vocabularies.source_size - old.source_size,
            len(vocabularies.target) - len(old.target),
        )


def _with_rows(
    new: npt.NDArray[Any], old: npt.NDArray[Any], ids: npt.NDArray[np.intp]
) -> npt.NDArray[Any]:
    """Returns `old`, or `new` with `old` at `ids` of the one axis in which their shapes differ."""
    differing = [axis for axis in range(new.ndim) if new.shape[axis] != old.shape[axis]]
    if not differing:
        return old
    [axis] = differing
    rows = np.moveaxis(new.copy(), axis, 0)
    rows[ids] = np.moveaxis(old, axis, 0)
    return np.moveaxis(rows, 0, axis)
