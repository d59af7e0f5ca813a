"""Byte-pair encoding of bytes, learned from scratch, kept as JSON.

Sennrich, Haddow and Birch 2016, "Neural Machine Translation of Rare Words with Subword Units", on bytes instead of
letters, so that any text, in any script, is encoded and comes back as it was.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from vla_ros.errors import PolicyError

BYTES = 256
FORMAT = "vla_ros byte pairs 1"
WORD = re.compile(rb" ?[^\s]+|\s+")  # a word with the space before it: no pair reaches across words
CACHED = 4096  # words


class BytePairs:
    """A vocabulary: the 256 bytes, then one entry for each merge of two earlier entries.

    merges: pairs of entries, the first merged first; entry 256 + i is merges[i]. Raises PolicyError for a merge of an entry
    that does not exist yet.
    """

    def __init__(self, merges: Sequence[tuple[int, int]]) -> None:
        self.merges = [(int(a), int(b)) for a, b in merges]
        self.entries = [bytes([i]) for i in range(BYTES)]
        for number, (a, b) in enumerate(self.merges):
            if not (0 <= a < len(self.entries) and 0 <= b < len(self.entries)):
                raise PolicyError(f"byte pairs: merge {number} is of {a} and {b}, want 0 to {len(self.entries) - 1}")
            self.entries.append(self.entries[a] + self.entries[b])
        self._ranks = {pair: number for number, pair in enumerate(self.merges)}
        self._words: dict[bytes, list[int]] = {}

    def __len__(self) -> int:
        return len(self.entries)

    @staticmethod
    def train(texts: Iterable[str | bytes], size: int) -> BytePairs:
        """Return a vocabulary of at most `size` entries: the most frequent pair is merged, again and again.

        Pairs that are seen once are not merged. Ties go to the pair of the lowest entries, so that the same texts give
        the same vocabulary. Raises PolicyError for a size below 256.
        """
        if size < BYTES:
            raise PolicyError(f"byte pairs: a vocabulary of {size} cannot hold the {BYTES} bytes")
        counts = Counter(word for text in texts for word in _words(text))
        words = [(list(word), count) for word, count in sorted(counts.items())]
        merges: list[tuple[int, int]] = []
        while BYTES + len(merges) < size:
            pairs: Counter[tuple[int, int]] = Counter()
            for word, count in words:
                for pair in pairwise(word):
                    pairs[pair] += count
            if not pairs:
                break
            best, times = min(pairs.items(), key=lambda item: (-item[1], item[0]))
            if times < 2:
                break
            new = BYTES + len(merges)
            merges.append(best)
            words = [(_merged(word, best, new), count) for word, count in words]
        return BytePairs(merges)

    def encode(self, text: str | bytes) -> list[int]:
        """Return the entries of a text."""
        return [entry for word in _words(text) for entry in self._encode_word(word)]

    def decode(self, entries: Iterable[int]) -> bytes:
        """Return the bytes of entries. Raises PolicyError for one that the vocabulary lacks."""
        out = []
        for entry in entries:
            if not 0 <= entry < len(self.entries):
                raise PolicyError(f"byte pairs: entry {entry} is not in 0 to {len(self.entries) - 1}")
            out.append(self.entries[entry])
        return b"".join(out)

    def to_json(self) -> str:
        """Return the vocabulary as JSON text."""
        return json.dumps({"format": FORMAT, "merges": [list(pair) for pair in self.merges]}) + "\n"

    @staticmethod
    def from_json(text: str, source: str) -> BytePairs:
        """Return the vocabulary that `to_json` wrote; `source` names it in the PolicyError for anything else."""
        try:
            data: Any = json.loads(text)
        except json.JSONDecodeError as error:
            raise PolicyError(f"vocabulary '{source}' is not JSON: {error}") from None
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            found = data.get("format") if isinstance(data, dict) else type(data).__name__
            raise PolicyError(f"vocabulary '{source}': format is {found!r}, want {FORMAT!r}")
        merges = data.get("merges")
        if not isinstance(merges, list) or not all(
            isinstance(pair, list) and len(pair) == 2 and all(type(x) is int for x in pair) for pair in merges
        ):
            raise PolicyError(f"vocabulary '{source}': want merges, a list of pairs of entries")
        return BytePairs([(a, b) for a, b in merges])

    def save(self, path: Path) -> None:
        """Write the vocabulary as a JSON file."""
        path.write_text(self.to_json(), encoding="utf-8")

    def _encode_word(self, word: bytes) -> list[int]:
        known = self._words.get(word)
        if known is not None:
            return known
        parts = list(word)
        while len(parts) > 1:
            pairs = pairwise(parts)
            best = min(pairs, key=lambda pair: self._ranks.get(pair, len(self.merges)))
            if best not in self._ranks:
                break
            parts = _merged(parts, best, BYTES + self._ranks[best])
        if len(self._words) < CACHED:
            self._words[word] = parts
        return parts


def _words(text: str | bytes) -> list[bytes]:
    return WORD.findall(text.encode("utf-8") if isinstance(text, str) else text)


def _merged(word: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """Return `word` with every occurrence of `pair`, from the left, as one entry `new`."""
    out: list[int] = []
    i = 0
    while i < len(word):
        if i + 1 < len(word) and (word[i], word[i + 1]) == pair:
            out.append(new)
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out
