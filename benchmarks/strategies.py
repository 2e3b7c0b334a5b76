"""The strategies that are compared: the engine with some of its fast paths, and one item per forward."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import GPT2LMHeadModel

from hf_core_bpb.progress import SilentProgress
from hf_core_bpb.scoring.engine import Engine
from hf_core_bpb.scoring.plan import Job, Mode
from hf_core_bpb.scoring.trie import Trie, build_trie
from hf_core_bpb.types import Request

BATCH_TOKENS = 2048


class EngineStrategy:
    """The engine with these fast paths; none of them is plain batches."""

    def __init__(self, model: GPT2LMHeadModel, modes: frozenset[Mode]) -> None:
        self.engine = Engine(model, modes)

    def plan(self, trie: Trie) -> list[Job]:
        return self.engine.plan(trie, BATCH_TOKENS)

    def score(self, requests: Sequence[Request]) -> list[float]:
        """Return the mean nats of every request."""
        trie = build_trie(requests)
        scored = self.engine.score(requests, trie, self.plan(trie), SilentProgress())[0]
        return [scored[number].mean_nats for number in range(len(requests))]


def score_by_item(model: GPT2LMHeadModel, items: Sequence[Sequence[Request]]) -> list[float]:
    """Return the mean nats of every option, one item per forward, as nanochat's core_eval.py computes them."""
    means = []
    with torch.inference_mode():
        for options in items:
            ids = torch.zeros((len(options), max(len(r.ids) for r in options)), dtype=torch.long)
            for row, request in enumerate(options):
                ids[row, : len(request.ids)] = torch.from_numpy(request.ids.astype(np.int64))
            logits = model(input_ids=ids).logits
            targets = torch.roll(ids, shifts=-1, dims=1)
            losses = torch.nn.functional.cross_entropy(
                logits.view(-1, logits.shape[-1]), targets.view(-1), reduction="none"
            ).view(ids.shape)
            losses[:, -1] = float("nan")
            logits.argmax(dim=-1)
            means += [losses[row, r.start - 1 : r.end - 1].mean().item() for row, r in enumerate(options)]
    return means
