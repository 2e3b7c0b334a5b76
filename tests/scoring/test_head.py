"""The vocabulary head: logits where they are read, on whichever device they come, in chunks that fit its memory."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hf_core_bpb.scoring import head
from hf_core_bpb.scoring.head import HeadedModel, chunk_elements

KEEP = np.array([[True, False, True], [False, False, True]])


class TwoDevices(torch.nn.Module):
    """A model whose last layers are on another device than its first, as with device_map; meta stands for it."""

    base_model_prefix = "base"

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Embedding(7, 4)
        self.base = torch.nn.Module()
        self.base.forward = lambda input_ids, **_: SimpleNamespace(
            last_hidden_state=self.first(input_ids).to("meta"), past_key_values=None
        )

    def forward(self, input_ids, **_):
        hidden = self.base(input_ids=input_ids).last_hidden_state
        return SimpleNamespace(logits=hidden @ torch.empty(4, 7, device="meta"), past_key_values=None)


@pytest.mark.parametrize("strategy", ["replayed", "full"])
def test_logits_are_picked_on_the_device_where_they_are_made(strategy):
    headed = HeadedModel(TwoDevices(), strategy)
    chunks, _ = headed(torch.zeros((2, 3), dtype=torch.long), KEEP)
    (logits_NxV,) = chunks
    assert (logits_NxV.shape, logits_NxV.device.type) == ((3, 7), "meta")


def test_chunks_on_a_cpu_have_two_to_the_24_logits():
    assert chunk_elements(torch.device("cpu")) == 2**24


@pytest.mark.parametrize(
    ("free_bytes", "elements"),
    # An eighth of the free memory, at 8 bytes each, between 2^24 and 2^27.
    [(2**40, 2**27), (2**32, 2**26), (2**20, 2**24)],
)
def test_chunks_on_an_accelerator_are_larger_as_far_as_memory_allows(monkeypatch, free_bytes, elements):
    monkeypatch.setattr(head, "free_bytes", lambda _device: free_bytes)
    assert chunk_elements(torch.device("cuda")) == elements
