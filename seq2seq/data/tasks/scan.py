"""Task `scan`: commands such as `jump left twice and walk`, and the actions that they mean.

Lake & Baroni (2018), "Generalization without Systematicity", https://arxiv.org/abs/1711.00350.
The grammar generates all 20,910 commands, so no file is needed. The splits `length`, `turn_left`
and `jump` have the same lines as the published files (https://github.com/brendenlake/SCAN,
`length_split` and `add_prim_split`, checked against their sizes in bytes). `simple` is a random
draw with the published sizes, but not the published draw.
"""

from __future__ import annotations

import random
from itertools import product

from seq2seq.config.choices import ScanSplit
from seq2seq.config.schema import DataConfig
from seq2seq.data.examples import Example, Splits
from seq2seq.errors import UserError

ACTIONS = {"walk": "I_WALK", "look": "I_LOOK", "run": "I_RUN", "jump": "I_JUMP"}
TURNS = {"left": "I_TURN_LEFT", "right": "I_TURN_RIGHT"}
TIMES = {"twice": 2, "thrice": 3}

SIMPLE_TEST_EXAMPLES = 4182
MAX_TRAIN_ACTIONS = 22

# How often the published training files repeat the primitive: 10 % of their lines.
PRIMITIVES = {ScanSplit.turn_left: ("turn left", 2189), ScanSplit.jump: ("jump", 1467)}

Meanings = dict[str, list[str]]


def make(config: DataConfig) -> Splits:
    """Returns the split of SCAN with the name `data.split`.

    SCAN has no dev set. Dev is drawn from the training commands, without the primitive that
    `turn_left` and `jump` teach, and removed from them. Train and test are the remaining examples,
    or as many of them as the settings ask for.
    """
    if config.dev_examples is None:
        raise UserError("data.dev_examples=null: data.task=scan needs a number, e.g. 1000")
    rng = random.Random(config.seed)
    train, test = published_split(config.split, rng)
    primitive = _primitive_source(config.split)
    candidates = [example for example in train if example.source != primitive]
    rng.shuffle(candidates)
    dev = _first(candidates, config.dev_examples, "dev", config)
    held_out = {example.source for example in dev}
    train = [example for example in train if example.source not in held_out]
    rng.shuffle(train)
    rng.shuffle(test)
    return Splits(
        train=_first(train, config.train_examples, "train", config),
        dev=dev,
        test=_first(test, config.test_examples, "test", config),
    )


def published_split(split: ScanSplit, rng: random.Random) -> tuple[list[Example], list[Example]]:
    """Returns the training and test lines as published, with repetitions and without a dev set.

    Published counts: simple 16,728 / 4,182, length 16,990 / 3,920, turn_left 21,890 / 1,208,
    jump 14,670 / 7,706.
    """
    examples = commands()
    if split is ScanSplit.simple:
        rng.shuffle(examples)
        return examples[SIMPLE_TEST_EXAMPLES:], examples[:SIMPLE_TEST_EXAMPLES]
    if split is ScanSplit.length:
        train = [example for example in examples if len(example.target) <= MAX_TRAIN_ACTIONS]
        return train, [example for example in examples if len(example.target) > MAX_TRAIN_ACTIONS]
    words, repetitions = PRIMITIVES[split]
    # As words in a row: "turn opposite left" does not use "turn left" and is trained on.
    uses = [words in " ".join(example.source) for example in examples]
    primitive = next(example for example in examples if example.source == tuple(words.split()))
    train = [example for example, used in zip(examples, uses, strict=True) if not used]
    test = [example for example, used in zip(examples, uses, strict=True) if used]
    test.remove(primitive)
    return train + [primitive] * repetitions, test


def commands() -> list[Example]:
    """Returns every command of the grammar with its actions, always in the same order."""
    phrases = _phrases()
    meanings = dict(phrases)
    for (first, did), (second, then) in product(phrases.items(), repeat=2):
        meanings[f"{first} and {second}"] = did + then
        meanings[f"{first} after {second}"] = then + did
    return [Example(tuple(words.split()), tuple(actions)) for words, actions in meanings.items()]


def _phrases() -> Meanings:
    """Returns the commands without `and` and `after`, e.g. `jump around left thrice`."""
    verbs: Meanings = {verb: [action] for verb, action in ACTIONS.items()}
    for verb, (direction, turn) in product([*ACTIONS, "turn"], TURNS.items()):
        action = [ACTIONS[verb]] if verb in ACTIONS else []  # `turn` has no other action
        verbs[f"{verb} {direction}"] = [turn, *action]
        verbs[f"{verb} opposite {direction}"] = [turn, turn, *action]
        verbs[f"{verb} around {direction}"] = [turn, *action] * 4
    repeated = {
        f"{words} {times}": actions * count
        for (words, actions), (times, count) in product(verbs.items(), TIMES.items())
    }
    return verbs | repeated


def _primitive_source(split: ScanSplit) -> tuple[str, ...] | None:
    return tuple(PRIMITIVES[split][0].split()) if split in PRIMITIVES else None


def _first(
    examples: list[Example], count: int | None, name: str, config: DataConfig
) -> list[Example]:
    if count is not None and count > len(examples):
        raise UserError(
            f"data.{name}_examples={count}: data.split={config.split} has {len(examples)} examples "
            f"for {name}; lower data.{name}_examples"
        )
    return examples[:count]
