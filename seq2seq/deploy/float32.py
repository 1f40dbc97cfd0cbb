"""Trained models as they are exported: computed in float32, whatever they were trained in."""

from __future__ import annotations

import dataclasses

from seq2seq.inference.members import Member
from seq2seq.inference.predictor import Predictor
from seq2seq.model.seq2seq import build_model


def in_float32(predictor: Predictor) -> Predictor:
    """Returns a predictor of the same weights and search whose models compute in float32."""
    first, *others = map(_member_in_float32, predictor.members.all)
    return Predictor(
        first.model,
        first.vocabularies,
        first.data,
        predictor.decoding,
        others,
        temperature=predictor.observer.temperature,
    )


def _member_in_float32(member: Member) -> Member:
    model = member.model
    if model.compute_dtype == "float32":
        return member
    copy = build_model(
        model.settings,
        model.source_size,
        model.target_size,
        copies=model.copies,
        feature_size=model.feature_size,
    )
    copy.set_weights(model.get_weights())
    return dataclasses.replace(member, model=copy)
