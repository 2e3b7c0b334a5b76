"""Requests of random ids that share prompts in all ways that the planner handles."""

import numpy as np

from hf_core_bpb.types import Request


def draw(rng, count):
    return rng.integers(0, 400, count).tolist()


def request(ids, start, num_bytes=3):
    return Request(np.array(ids, dtype=np.int32), start, len(ids), num_bytes)


def sharing_requests():
    """Return items of 18 to 60 tokens whose options share a prompt, nested ones too, and texts that share nothing."""
    rng = np.random.default_rng(3)
    requests = []
    for length in (60, 57, 31, 18):
        prompt = draw(rng, length)
        requests += [request(prompt + draw(rng, n), length) for n in (1, 4, 9)]
        fork = prompt + draw(rng, 3)
        requests += [request(fork + draw(rng, n), length + 2) for n in (2, 5)]
    subject = draw(rng, 40)
    for _ in range(3):
        question = subject + draw(rng, 12)
        requests += [request([*question, option], len(question)) for option in range(4)]
    for length in (2, 7, 33):
        requests.append(request(draw(rng, length), 1))
    return requests
