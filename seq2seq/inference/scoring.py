"""Log-probabilities of given targets, and the lines of `python -m seq2seq.score`."""

from __future__ import annotations

import itertools
import json
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from seq2seq.config.choices import ScoreFormat
from seq2seq.config.commands import ScoreConfig
from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Example
from seq2seq.data.tsv import has_features, scan_examples
from seq2seq.data.vocabulary import Tokenizer
from seq2seq.errors import UserError
from seq2seq.inference.directions import Voters, mean
from seq2seq.inference.forcing import compile_scoring
from seq2seq.inference.output_file import opening_output, write_visibly
from seq2seq.inference.predictor import Predictor
from seq2seq.runs.run_dir import RunDir

log = logging.getLogger(__name__)

# Batches whose examples are sorted by length together.
_CHUNK_BATCHES = 32


class Score(NamedTuple):
    """The log-probability of a target, given its source, in nats.

    Attributes:
        log_probs: One number for each target token, and one for the end of the sequence. They are
            those that a search adds up: -inf for a token that is not in the vocabulary.
        unknown: The target tokens that are not in the vocabulary.
    """

    log_probs: tuple[float, ...]
    unknown: tuple[str, ...]

    @property
    def total(self) -> float:
        """The log-probability of the whole target."""
        return math.fsum(self.log_probs)

    @property
    def perplexity(self) -> float:
        """exp of the mean negative log-probability per token, the end included."""
        return perplexity(self.total, len(self.log_probs))


class Scorer:
    """Scores targets with the model of a predictor, by teacher forcing in compiled batches."""

    def __init__(self, predictor: Predictor, is_compiled: bool | None = None) -> None:
        """Compiles nothing before the first call.

        Args:
            predictor: Has the model and the vocabularies.
            is_compiled: Whether XLA compiles it, once per bucket; None: as the predictor's search.
        """
        self._predictor = predictor
        if is_compiled is None:
            is_compiled = predictor.decoding.jit_compile is not False
        self._score = Voters(predictor.members, lambda one: compile_scoring(one, is_compiled))

    def __call__(self, examples: Sequence[Example]) -> list[Score]:
        """Returns the score of each example, in their order; sources must not be empty."""
        tables = self._predictor.vocabularies
        sources = self._predictor.members.encode([(e.source, e.features) for e in examples])
        targets = [example.target for example in examples]
        batch_size = self._predictor.decoding.batch_size
        found = self._score([*zip(*sources, strict=True)], targets, batch_size)
        scores = []
        for target, votes in zip(targets, found, strict=True):
            log_probs = mean([[row[i] for i in steps] for steps, [row] in votes])
            unknown = tables.target.unknown(target)
            # A search never writes UNK.
            steps = zip(log_probs, [*(t in unknown for t in target), False], strict=True)
            values = tuple(-math.inf if never else value for value, never in steps)
            scores.append(Score(values, unknown))
        return scores


def perplexity(log_prob: float, tokens: int) -> float:
    """Returns exp(-log_prob / tokens); infinity for an impossible target."""
    nats = -log_prob / max(tokens, 1)
    # exp overflows above 709 nats.
    return math.exp(nats) if nats < 700 else math.inf


def score(config: ScoreConfig) -> None:
    """Writes the log-probability of every example of a file, and a summary to standard error.

    Raises:
        UserError: The run or the file cannot be read, or the output cannot be written.
    """
    runs = RunDir.find_all(config.run)
    predictor = Predictor.load(runs, config.decoding)
    data, scorer = predictor.data, Scorer(predictor)
    files = config.data.test or data.test
    if files is None:
        raise UserError(f"{runs[0].path} was trained without a test file: add data.test=FILE")
    examples = scan_examples(files, data)
    chunk_size = _CHUNK_BATCHES * predictor.decoding.batch_size
    write = _WRITERS[config.format]
    pairs = impossible = tokens = 0
    total = 0.0
    with opening_output(config.output) as output:
        while chunk := list(itertools.islice(examples, chunk_size)):
            for example, found in zip(chunk, scorer(chunk), strict=True):
                write_visibly(output, write(example, found, data))
                pairs += 1
                if found.unknown:
                    impossible += 1
                else:
                    total += found.total
                    tokens += len(found.log_probs)
    _sum_up(pairs, impossible, total, tokens)


def _sum_up(pairs: int, impossible: int, total: float, tokens: int) -> None:
    log.info(
        "%s pairs, %s target tokens with their ends: log-probability %.4f per token, "
        "perplexity %.4f",
        f"{pairs - impossible:,}",
        f"{tokens:,}",
        total / max(tokens, 1),
        perplexity(total, tokens),
    )
    if impossible:
        log.warning(
            "without %s pair%s with target symbols that are not in the vocabulary of the run",
            f"{impossible:,}",
            "s" * (impossible != 1),
        )


def _texts(example: Example, data: DataConfig) -> Iterable[str]:
    yield Tokenizer(data.source.tokens).join(example.source)
    if has_features(data):
        yield data.features.separator.join(example.features)
    yield Tokenizer(data.target.tokens).join(example.target)


def _as_tsv(example: Example, found: Score, data: DataConfig) -> str:
    numbers = f"{found.total:.6f}", str(len(found.log_probs)), f"{found.perplexity:.6f}"
    return "\t".join([*_texts(example, data), *numbers]) + "\n"


def _as_jsonl(example: Example, found: Score, data: DataConfig) -> str:
    def number(value: float) -> float | None:
        return round(value, 6) if math.isfinite(value) else None  # JSON has no infinity

    source, *features, target = _texts(example, data)
    answer: dict[str, object] = {"source": source}
    if features:
        answer["features"] = features[0]
    answer |= {"target": target, "log_prob": number(found.total)}
    answer["perplexity"] = number(found.perplexity)
    if found.unknown:
        answer["unknown"] = found.unknown
    tokens = (*example.target, "<eos>")
    answer["tokens"] = [
        {"token": token, "log_prob": number(value)}
        for token, value in zip(tokens, found.log_probs, strict=True)
    ]
    return json.dumps(answer, ensure_ascii=False) + "\n"


_WRITERS: dict[ScoreFormat, Callable[[Example, Score, DataConfig], str]] = {
    ScoreFormat.tsv: _as_tsv,
    ScoreFormat.jsonl: _as_jsonl,
}
