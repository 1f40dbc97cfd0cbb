"""Generator of the sample: numbers in English words, and the same numbers in digits.

python data/make_sample.py [DIRECTORY]
"""

import random
import sys
from pathlib import Path

ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen"),
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
PARTS = {"train": 800, "dev": 100, "test": 100}


def in_words(number: int) -> str:
    """Returns a number below a million in words: `two thousand four hundred and seven`."""
    if number < 20:
        return ONES[number]
    if number < 100:
        tens, ones = TENS[number // 10 - 2], number % 10
        return f"{tens} {ONES[ones]}" if ones else tens
    unit, name, link = (100, "hundred", " and") if number < 1000 else (1000, "thousand", "")
    count, rest = divmod(number, unit)
    if unit == 1000 and 0 < rest < 100:
        link = " and"
    return f"{in_words(count)} {name}" + (f"{link} {in_words(rest)}" if rest else "")


def main(directory: Path) -> None:
    """Writes distinct numbers, half of them with two or three digits and half with four."""
    rng = random.Random(1)
    count = sum(PARTS.values())
    numbers = rng.sample(range(10, 1000), count // 2) + rng.sample(range(1000, 10000), count // 2)
    rng.shuffle(numbers)
    directory.mkdir(parents=True, exist_ok=True)
    for name, size in PARTS.items():
        part, numbers = numbers[:size], numbers[size:]
        lines = [f"{in_words(number)}\t{number}\n" for number in part]
        (directory / f"{name}.tsv").write_bytes("".join(lines).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "sample")
