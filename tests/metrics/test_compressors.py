import bz2
import gzip
import lzma

import numpy as np
import pytest

from hf_core_bpb.metrics import compressors
from hf_core_bpb.metrics.compressors import measure_compressors, measure_packed
from hf_core_bpb.types import Document

TEXTS = ["The river ran to the sea, 海. " * 40, "And the sea was wide. " * 30]


def test_sizes_are_those_of_the_standard_library_s_strongest_settings():
    """By unpacking: what was measured is the whole text, and no larger than at the default settings."""
    content = "".join(TEXTS).encode()
    measured = measure_compressors([Document(text) for text in TEXTS])
    defaults = {
        "gzip": gzip.compress(content, 1),
        "bzip2": bz2.compress(content, 1),
        "xz": lzma.compress(content, preset=0),
    }
    assert set(measured) == set(defaults)
    for name, packed in defaults.items():
        size = measured[name] * len(content) / 8
        assert size == pytest.approx(round(size), abs=1e-6)
        assert size <= len(packed)
    assert measured["gzip"] == 8 * len(gzip.compress(content, 9, mtime=0)) / len(content)


def test_random_bytes_of_letters_take_about_the_bits_of_their_choice():
    """64 letters at random hold 6 bits each; no compressor can do with fewer."""
    import random

    text = "".join(random.Random(3).choices([chr(48 + i) for i in range(64)], k=50_000))
    for value in measure_compressors([Document(text)]).values():
        assert 6.0 <= value < 6.3


def test_documents_are_packed_one_by_one_at_the_strongest_settings():
    texts = [*TEXTS, "", "x", "".join(chr(0x4E00 + i * 7 % 2000) for i in range(3000))]
    packed = measure_packed([Document(text) for text in texts])
    for text, sizes in zip(texts, packed, strict=True):
        content = text.encode()
        assert sizes == {
            "gzip": len(gzip.compress(content, 9)),
            "xz": len(lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)),
        }
    assert measure_packed([Document("text"), Document("", np.array([1, 2]))]) == []


def test_no_text_or_too_much_of_it_is_not_measured(monkeypatch):
    assert measure_compressors([]) == {}
    assert measure_compressors([Document("text"), Document("", np.array([1, 2]))]) == {}
    monkeypatch.setattr(compressors, "MAX_BYTES", 10)
    assert measure_compressors([Document("x" * 11)]) == {}
    assert set(measure_compressors([Document("x" * 10)])) == {"gzip", "bzip2", "xz"}
