import bz2
import gzip
import lzma

import numpy as np
import pytest

from hf_core_bpb.metrics import compressors
from hf_core_bpb.metrics.compressors import measure_compressors, measure_packed
from hf_core_bpb.types import Document

TEXTS = ["The river ran to the sea, 海. " * 40, "And the sea was wide. " * 30]


def test_sizes_are_those_of_the_strongest_settings():
    """Whole numbers of bytes, no larger than with the weakest settings."""
    content = "".join(TEXTS).encode()
    measured = measure_compressors([Document(text) for text in TEXTS])
    weakest = {
        "gzip": gzip.compress(content, 1),
        "bzip2": bz2.compress(content, 1),
        "xz": lzma.compress(content, preset=0),
    }
    assert set(measured) == set(weakest)
    for name, packed in weakest.items():
        size = measured[name] * len(content) / 8
        assert size == pytest.approx(round(size), abs=1e-6)
        assert size <= len(packed)
    assert measured["gzip"] == 8 * len(gzip.compress(content, 9, mtime=0)) / len(content)


def test_random_letters_compress_to_their_entropy():
    """64 letters at random have 6 bits each, and no compressor needs fewer."""
    import random

    text = "".join(random.Random(3).choices([chr(48 + i) for i in range(64)], k=50_000))
    for value in measure_compressors([Document(text)]).values():
        assert 6.0 <= value < 6.3


def test_documents_are_compressed_one_by_one_at_the_strongest_settings():
    texts = [*TEXTS, "", "x", "".join(chr(0x4E00 + i * 7 % 2000) for i in range(3000))]
    packed = measure_packed([Document(text) for text in texts])
    for text, sizes in zip(texts, packed, strict=True):
        content = text.encode()
        assert sizes == {
            "gzip": len(gzip.compress(content, 9)),
            "xz": len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)),
        }


def test_tokenised_documents_are_not_compressed():
    documents = [Document("text"), Document("", np.array([1, 2]))]
    assert measure_compressors(documents) == {}
    assert measure_packed(documents) == []


def test_no_documents_are_not_compressed():
    assert measure_compressors([]) == {}


def test_texts_above_the_limit_are_not_compressed(monkeypatch):
    monkeypatch.setattr(compressors, "MAX_BYTES", 10)
    assert measure_compressors([Document("x" * 11)]) == {}
    assert set(measure_compressors([Document("x" * 10)])) == {"gzip", "bzip2", "xz"}
