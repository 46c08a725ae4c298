"""Find similar hashes among many without comparing all pairs: locality-sensitive hashing by sampled bits.

Indyk and Motwani (1998), Approximate nearest neighbors. A table samples some bits of a hash as its key. Two hashes
that differ in few bits have a good chance of equal keys, those of two patients hardly any; only hashes with equal keys
in some table are compared. There are as many tables as it takes to find a pair at the threshold with the probability
1 - MISSED, whatever the images; closer pairs are missed far less often.
"""

from collections.abc import Iterator

import numpy as np

from covid_tfds.common import progress

MISSED = 0.001
# A key's bits grow with the number of images, so that few pairs share one by chance: these for 1,000 images, and one
# more for each factor 1.6, which is how much rarer a bit makes equal keys of two patients. float32 counts to 2 ** 24.
SMALLEST_KEY, LARGEST_KEY, FACTOR = 17, 24, 1.6
CHUNK = 64  # images whose versions are looked up together
SAMPLE = 256  # bits that are compared first
# Of a random sample of 256 bits, a pair within the threshold differs in this many standard deviations more than its
# mean once in 30,000 times.
DEVIATIONS = 4

ONES = np.unpackbits(np.arange(1 << 16, dtype=np.uint16).view(np.uint8).reshape(-1, 2), axis=1).sum(1, dtype=np.uint8)

# Indices of images, indices of the others a version of which is similar, and the shares of bits that differ.
Matches = Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]


def compare_likely(fingerprints: np.ndarray, threshold: float) -> Matches:
    """Yields the images and versions that differ in at most `threshold` of the bits and share a key.

    Args:
        fingerprints: uint8 [n, versions, bytes], packed bits; the first version is the image as it is.
        threshold: The largest share of differing bits, 0 to 1.
    """
    count, versions, width = fingerprints.shape
    random, bits = np.random.default_rng(0), 8 * width
    sampling = _draw_tables(random, bits, count, threshold)
    as_they_are = fingerprints[:, 0]
    keys = _unpack(as_they_are) @ sampling
    tables = [_Table(column) for column in keys.T]
    sample = np.sort(random.permutation(bits)[:SAMPLE])
    sample_limit = SAMPLE * threshold + DEVIATIONS * np.sqrt(SAMPLE * threshold * (1 - threshold))
    samples = _words(np.packbits(_unpack(as_they_are)[:, sample] > 0, axis=1))
    whole = _words(as_they_are)
    with progress.Line(count, "near-duplicates", "image") as line:
        for start in range(0, count, CHUNK):
            chunk = fingerprints[start : start + CHUNK]
            rows = chunk.reshape(-1, width)
            unpacked = _unpack(rows)
            row_samples = _words(np.packbits(unpacked[:, sample] > 0, axis=1))
            row_words = _words(rows)
            for table, column in zip(tables, (unpacked @ sampling).T, strict=True):
                images, found = table.look_up(column)
                near = images != start + found // versions
                near &= _count_differing(samples, images, row_samples, found) <= sample_limit
                images, found = images[near], found[near]
                shares = _count_differing(whole, images, row_words, found) / bits
                close = shares <= threshold
                yield images[close], start + found[close] // versions, shares[close]
            line.advance(len(chunk))


class _Table:
    """The images by their key."""

    def __init__(self, keys: np.ndarray):
        self.order = np.argsort(keys, kind="stable")
        self.keys, self.first, self.counts = np.unique(keys[self.order], return_index=True, return_counts=True)

    def look_up(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns images and places in `keys` with equal keys, one of each for every such pair."""
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        hits = np.flatnonzero(self.keys[place] == keys)
        counts = self.counts[place[hits]]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return self.order[np.repeat(self.first[place[hits]], counts) + within], np.repeat(hits, counts)


def _draw_tables(random: np.random.Generator, bits: int, count: int, threshold: float) -> np.ndarray:
    """Powers of two at each table's bits, float32 [bits, tables]: unpacked hashes times this are the keys."""
    more = int(np.log(count / 1000) / np.log(FACTOR))
    size = int(np.clip(SMALLEST_KEY + more, SMALLEST_KEY, LARGEST_KEY))
    tables = int(np.ceil(np.log(MISSED) / np.log1p(-((1 - threshold) ** size))))
    result = np.zeros((bits, tables), np.float32)
    for table in result.T:
        table[random.choice(bits, size, replace=False)] = 2.0 ** np.arange(size)
    return result


def _unpack(packed: np.ndarray) -> np.ndarray:
    return np.unpackbits(packed, axis=1).astype(np.float32)


def _words(packed: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(packed).view(np.uint16)


def _count_differing(words: np.ndarray, rows: np.ndarray, others: np.ndarray, other_rows: np.ndarray) -> np.ndarray:
    return ONES[words[rows] ^ others[other_rows]].sum(1, dtype=np.int64)
