"""Instructions as training sees them."""

from __future__ import annotations

import numpy as np

CONSONANTS = "bcdfghjklmnprstvwz"
VOWELS = "aeiou"


def variants(task: str, count: int, rng: np.random.Generator) -> list[str]:
    """Return `count` readings of an instruction with made-up words between its own.

    A word that means nothing in training is one the policy learns to ignore, so that a paraphrase with
    unknown words around the ones that matter still works.
    """
    return [_with_strangers(task.split(), rng) for _ in range(count)]


def _with_strangers(words: list[str], rng: np.random.Generator) -> str:
    chance = rng.uniform(0.1, 0.6)
    kept = []
    for word in words:
        if rng.random() < chance:
            kept.append(_stranger(rng))
        kept.append(word)
    if rng.random() < chance:
        kept.append(_stranger(rng))
    return " ".join(kept)


def _stranger(rng: np.random.Generator) -> str:
    syllables = int(rng.integers(1, 4))
    return "".join(
        CONSONANTS[rng.integers(len(CONSONANTS))]
        + VOWELS[rng.integers(len(VOWELS))]
        + (CONSONANTS[rng.integers(len(CONSONANTS))] if rng.random() < 0.4 else "")
        for _ in range(syllables)
    )
