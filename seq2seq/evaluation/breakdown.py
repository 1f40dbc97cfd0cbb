"""Scores of groups of examples: by length, by rare symbols, by tag."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from seq2seq.data.examples import Example
from seq2seq.evaluation.evaluate_model import ScoredExample
from seq2seq.evaluation.intervals import bootstrap_interval, format_interval
from seq2seq.evaluation.metrics import METRICS, format_metric

Groups = Mapping[str, Sequence[ScoredExample]]

_MAX_LENGTHS = 8  # ranges of equally many examples
_RARE = 5  # A symbol seen less often in training is rare.
_MAX_TAGS = 30


def by_length(scored: Sequence[ScoredExample]) -> Groups:
    """Groups examples by the number of source tokens, into ranges of similar numbers."""
    lengths = Counter(len(one.source) for one in scored)
    enough = len(scored) / _MAX_LENGTHS
    firsts: list[int] = []
    size = enough
    for length, count in sorted(lengths.items()):
        if size >= enough or count >= enough:  # A frequent length has a range of its own.
            firsts.append(length)
            size = 0
        size += count
    lasts = [*(first - 1 for first in firsts[1:]), max(lengths, default=0)]
    return {
        f"{first} to {last}" if first < last else str(first): [
            one for one in scored if first <= len(one.source) <= last
        ]
        for first, last in zip(firsts, lasts, strict=False)
    }


def by_rarest_symbol(scored: Sequence[ScoredExample], train: Iterable[Example]) -> Groups:
    """Groups examples by how often training has their rarest source symbol or tag."""
    symbols, tags = Counter[str](), Counter[str]()
    for example in train:
        symbols.update(example.source)
        tags.update(example.features)
    found: dict[str, list[ScoredExample]] = {
        name: [] for name in ("never", f"1 to {_RARE - 1} times", f"{_RARE} times or more")
    }
    never, rare, known = found.values()
    for one in scored:
        seen = [*(symbols[token] for token in one.source), *(tags[tag] for tag in one.features)]
        least = min(seen, default=0)
        (known if least >= _RARE else rare if least else never).append(one)
    return {name: group for name, group in found.items() if group}


def by_tag(scored: Sequence[ScoredExample]) -> Groups:
    """Groups examples by tag, the most frequent ones; an example is in a group for each tag."""
    groups = defaultdict(list)
    for one in scored:
        for tag in dict.fromkeys(one.features):
            groups[tag].append(one)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1]))[:_MAX_TAGS])


def group_rows(groups: Groups) -> Iterator[tuple[str, ...]]:
    """Yields a row for each group: name, examples, exact with interval, symbol error rate."""
    for name, group in groups.items():
        answers = [one.answer for one in group]
        cells = []
        for metric in ("sequence_accuracy", "symbol_error_rate"):
            of_example = METRICS[metric].of_example
            assert of_example is not None
            pairs = [of_example(*answer) for answer in answers]
            above, below = map(sum, zip(*pairs, strict=True))
            cells.append(format_metric(metric, above / max(below, 1)))
            if metric == "sequence_accuracy" and len(set(pairs)) > 1:
                cells[0] += f" {format_interval(*bootstrap_interval(pairs))}"
        yield (name, f"{len(group):,}", *cells)
