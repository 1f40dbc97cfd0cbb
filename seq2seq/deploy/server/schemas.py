"""The bodies of requests and responses, from which OpenAPI is made.

Annotations are evaluated here, because bounds come from the settings.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from seq2seq.config.commands import LimitsConfig

Kind = Literal["greedy", "beam", "sampling"]  # the words of `SearchKind`
Name = Annotated[str, Field(max_length=64)]


class Body(BaseModel):
    """A body of JSON: no other fields, and no conversions between types."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Problem(Body):
    """Why there is no answer."""

    error: str = Field(description="One line.")


class Status(Body):
    """The state of the server."""

    status: Literal["ok", "ready"]


class Token(Body):
    """A token of an answer, or its end, `<eos>`."""

    token: str
    probability: float | None = Field(None, description="Given the source and the tokens before.")
    position: int | None = Field(None, description="In `read`: where attention looked at most.")


class Hypothesis(Body):
    """One answer."""

    text: str
    score: float | None = Field(None, description="Of the search; higher is better.")
    tokens: list[Token] | None = None


class Answer(Body):
    """The answers to one source; `error` says why there are none."""

    source: str
    features: str | None = None
    error: str | None = None
    unknown: list[str] | None = Field(None, description="Symbols that the vocabulary lacks.")
    read: list[str] | None = Field(None, description="Features and source tokens.")
    confidence: float | None = Field(None, description="That the best answer is exactly right.")
    calibrated: bool | None = Field(None, description="Whether it is fitted to dev.")
    rejected: bool | None = Field(None, description="The confidence is below the server's limit.")
    known: bool | None = Field(None, description="The answers are those of a lexicon.")
    predictions: list[Hypothesis] = Field(description="Best first.")


class Answers(Body):
    """Answers in the order of the sources."""

    model: str
    answers: list[Answer]


class Example(Body):
    """A source of the dev set."""

    source: str
    features: str


class ModelEntry(Body):
    """A model and what can be asked of it."""

    name: str
    search: Kind
    searches: list[Kind]
    beam_size: int
    n_best: int
    has_features: bool
    has_details: bool = Field(description="Whether tokens have probabilities and alignments.")
    has_states: bool
    is_calibrated: bool
    examples: list[Example]


class Models(Body):
    """All models; the first one is asked if a request names none."""

    models: list[ModelEntry]
    max_n_best: int
    max_beam_size: int


class LayerStates(Body):
    """A state of a layer after each token that it has read."""

    side: Literal["encoder", "decoder"]
    layer: str
    name: str
    values: list[list[float]] = Field(description="By token and unit.")


class StatesFound(Body):
    """What happened between a source and a target."""

    model: str
    read: list[str] = Field(description="Features and source tokens.")
    written: list[str] = Field(description="Target tokens and the end.")
    attention: list[list[float]] | None = Field(None, description="By written and read token.")
    states: list[LayerStates] | None = None


class DecodeBody(Body):
    """Its fields have bounds in the subclass of `decode_body`."""

    model: Name | None = Field(None, description="Its name; the first one if null.")
    sources: list[str]
    features: list[str] | None = None
    search: Kind | None = Field(None, description="That of the model if null.")
    beam_size: int | None = None
    n_best: int | None = None
    seed: int | None = Field(None, ge=0, lt=2**32, description="Of sampling.")
    with_scores: bool = True
    with_confidence: bool = False
    with_probabilities: bool = Field(False, description="Of each token; with search by a run.")
    with_alignment: bool = Field(False, description="Of each token, if the model has attention.")


class StatesBody(Body):
    """Its fields have bounds in the subclass of `states_body`."""

    model: Name | None = Field(None, description="Its name; the first one if null.")
    source: str
    features: str = ""
    target: list[str] | None = None
    with_states: bool = Field(True, description="False: attention alone.")


def decode_body(limits: LimitsConfig) -> type[DecodeBody]:
    """Returns the body of `/v1/decode` with the bounds of the settings."""
    text = Annotated[str, Field(max_length=limits.characters)]
    lines = Annotated[list[text], Field(min_length=1, max_length=limits.sources)]
    beam = Annotated[int, Field(ge=1, le=limits.beam_size)]
    count = Annotated[int, Field(ge=1, le=limits.n_best)]

    class Decode(DecodeBody):
        """Sources to answer."""

        sources: lines = Field(description="One answer each.")
        features: lines | None = Field(None, description="As many as sources.")
        beam_size: beam | None = Field(None, description="That of the model if null.")
        n_best: count | None = Field(None, description="At most so many answers to a source.")

    return Decode


def states_body(limits: LimitsConfig) -> type[StatesBody]:
    """Returns the body of `/v1/states` with the bounds of the settings."""
    text = Annotated[str, Field(max_length=limits.characters)]
    tokens = Annotated[list[text], Field(max_length=limits.characters)]

    class States(StatesBody):
        """A source to observe."""

        source: text = Field(description="One line.")
        features: text = Field("", description="Empty if the model has none.")
        target: tokens | None = Field(None, description="Tokens to write; null: the best answer.")

    return States
