"""Model card: one page in Markdown about an exported model, with the header that hubs read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, TypeGuard

import yaml

from seq2seq import __version__
from seq2seq.config.choices import Precision, SearchKind, Task
from seq2seq.config.data_files import paths_in
from seq2seq.config.schema import DecodingConfig
from seq2seq.deploy.trained import Trained
from seq2seq.errors import visible

# Of `results.json`, those that are shown where they are there.
_SCORES = (
    "sequence_accuracy",
    "symbol_error_rate",
    "word_error_rate",
    "bleu",
    "chrf",
    "token_accuracy",
)
_SPLITS = ("dev", "test")
_NAMED = 3  # files of a split in the header
_SEARCH = ("kind", "beam_size", "length_penalty", "max_length", "min_length")


def model_card(trained: Trained, files: Mapping[str, str], weight_bytes: int) -> str:
    """Returns the page.

    Args:
        trained: The run.
        files: Names of the exported files, and what is in them.
        weight_bytes: Size of the file of weights.
    """
    header = yaml.safe_dump(_header(trained), sort_keys=False, allow_unicode=True)
    sections = (
        ("Task", _task(trained)),
        ("Model", _model(trained, weight_bytes)),
        ("Scores", _scores(trained)),
        ("Data", _data(trained)),
        ("Limits", _limits(trained)),
        ("Files", (f"- `{name}`: {content}" for name, content in files.items())),
    )
    text = "".join(f"\n## {title}\n\n" + "\n".join(lines) + "\n" for title, lines in sections)
    return f"---\n{header}---\n\n# {_plain(trained.config.name)}\n{text}"


def _header(trained: Trained) -> dict[str, Any]:
    """Returns the metadata, with the keys of the Hugging Face Hub."""
    model = trained.config.model
    tags = [trained.config.name, "seq2seq", str(model.encoder.cell), str(model.attention.kind)]
    results = [
        {
            "task": {"type": "text2text-generation"},
            "dataset": {"name": _data_name(trained, split), "type": "tsv", "split": split},
            "metrics": [{"type": name, "value": value} for name, value, _ in found],
        }
        for split in _SPLITS
        if _is_measured(trained) and (found := list(_found(trained, split)))
    ]
    index = [{"name": trained.config.name, "results": results}] if results else []
    return {
        "license": trained.license,
        "library_name": "seq2seq",
        "pipeline_tag": "text2text-generation",
        "tags": [tag for tag in tags if tag != "none"],
        **({"model-index": index} if index else {}),
    }


def _task(trained: Trained) -> Iterator[str]:
    text = trained.graph.description["text"]
    yield f"Writes a target for a line of source text; trained as `{_plain(trained.config.name)}`."
    yield ""
    for side in ("source", "target", "features"):
        if rule := text[side]:
            tokens, form = _plain(rule["tokens"]), rule["normalization"]
            yield f"- {side}: tokens `{tokens}`, Unicode form {form}"
    yield f"- answers: {_search(trained.predictor.decoding)}"


def _search(decoding: DecodingConfig) -> str:
    size = f" of {decoding.beam_size}" if decoding.kind is SearchKind.beam else ""
    return f"{decoding.kind} search{size}, at most {decoding.max_length} tokens"


def _model(trained: Trained, weight_bytes: int) -> Iterator[str]:
    model, names = trained.config.model, trained.graph.description["vocabularies"]
    if others := trained.graph.description["others"]:
        parts = "layers, attention and bridge are those of the first, weights those of all"
        yield f"- ensemble of {1 + len(others)} models; {parts}"
    yield f"- {_layers(trained.graph.description['model'])}"
    yield f"- attention: {model.attention.kind}; bridge: {model.bridge.kind}"
    sizes = ", ".join(f"{len(own)} {side}" for side, own in names.items() if own)
    yield f"- vocabularies: {sizes}"
    yield f"- {trained.graph.parameters:,} weights, {weight_bytes / 1e6:.1f} MB"


def _layers(model: dict[str, Any]) -> str:
    encoder, decoder = model["encoder"], model["decoder"]
    directions = "bidirectional " if encoder["directions"] == 2 else ""
    read = f"{encoder['layers']} × {directions}{encoder['cell']} of {encoder['units']} units"
    written = f"{decoder['layers']} × {decoder['cell']} of {decoder['units']} units"
    return f"encoder: {read}; decoder: {written}"


def _scores(trained: Trained) -> Iterator[str]:
    rows = [(split, *one) for split in _SPLITS for one in _found(trained, split)]
    if not rows:
        is_ensemble = bool(trained.graph.description["others"])
        owner = "An ensemble has" if is_ensemble else "The training has left"
        yield f"{owner} no results, so there are none."
        return
    yield "| data | metric | value | 95 % interval |"
    yield "|---|---|---|---|"
    for split, name, value, interval in rows:
        shown = f"{interval[0]:.4g} to {interval[1]:.4g}" if interval else ""
        yield f"| {split} | {name} | {value:.4g} | {shown} |"
    if not _is_measured(trained):
        yield ""
        search = _search(trained.config.decoding)
        yield f"They were measured with {search}, and unrounded weights."
        yield "This export searches or rounds otherwise, and was not measured."


def _is_measured(trained: Trained) -> bool:
    """Tells whether the run was measured with the search and the weights of the export."""
    ours, theirs = trained.predictor.decoding, trained.config.decoding
    is_same = all(getattr(ours, name) == getattr(theirs, name) for name in _SEARCH)
    return is_same and trained.quantize is None


def _found(trained: Trained, split: str) -> Iterator[tuple[str, float, list[float]]]:
    """Yields the scores of a split: name, value, and the two ends of its interval if there is one.

    The file may come from anywhere: what is not a number is left out.
    """
    scores = _mapping(trained.results.get(split))
    intervals = _mapping(scores.get("intervals"))
    for name in _SCORES:
        value, interval = scores.get(name), intervals.get(name)
        if not isinstance(interval, list) or [*map(_is_number, interval)] != [True, True]:
            interval = []
        if _is_number(value):
            yield name, value, interval


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _data(trained: Trained) -> Iterator[str]:
    if trained.config.data.task is not Task.tsv:
        yield f"Generated by the task `{trained.config.data.task}`."
        return
    checksums = _mapping(trained.record.get("data"))
    for split in ("train", *_SPLITS):
        digests = checksums.get(split)
        digests = digests if isinstance(digests, list) else [digests]
        # Files from anywhere may not fit together: what has no partner is left out.
        for name, digest in zip(_file_names(trained, split), digests, strict=False):
            if digest:  # Standard input has none.
                yield f"- {split}: `{_plain(name)}`, SHA-256 `{_plain(digest)}`"


def _data_name(trained: Trained, split: str) -> str:
    """Returns the names of a split's first files, or the name of its task."""
    names = _file_names(trained, split)
    if len(names) > _NAMED:
        names[_NAMED:] = [f"{len(names) - _NAMED} more"]
    return _plain(", ".join(names)) or str(trained.config.data.task)


def _file_names(trained: Trained, split: str) -> list[str]:
    """Returns the names of a split's files, without the folders of the machine of the training."""
    return [PurePath(path).name for path in paths_in(getattr(trained.config.data, split))]


def _limits(trained: Trained) -> Iterable[str]:
    text = trained.graph.description["text"]
    yield f"- Sources of more than {text['max_source_length']} tokens are refused."
    yield "- It knows the symbols of its training alone. It reads all others as one unknown symbol."
    yield "- It can be wrong, also where its score is high. Measure it on data of your own."
    if trained.config.training.precision is not Precision.float32:
        precision = trained.config.training.precision
        yield f"- It was trained in {precision}. In float32, as here, its scores differ a little."
    yield f"- Written by seq2seq {__version__}."


def _plain(text: str) -> str:
    """Returns a text from settings as one short line without marks of Markdown."""
    return visible(text, 80).replace("`", "'")
