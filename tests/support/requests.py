"""Requests of random ids that share prompts in all the ways that are planned."""

import numpy as np

from hf_core_bpb.types import Request


def draw(rng, count):
    return rng.integers(0, 400, count).tolist()


def request(ids, start, num_bytes=3):
    return Request(np.array(ids, dtype=np.int32), start, len(ids), num_bytes)


def sharing_requests():
    """Items of 16 to 60 tokens whose options share a prompt, some of them nested, and texts that share nothing."""
    rng = np.random.default_rng(3)
    made = []
    for length in (60, 57, 31, 18):
        prompt = draw(rng, length)
        made += [request(prompt + draw(rng, n), length) for n in (1, 4, 9)]
        fork = prompt + draw(rng, 3)
        made += [request(fork + draw(rng, n), length + 2) for n in (2, 5)]
    subject = draw(rng, 40)
    for _ in range(3):
        question = subject + draw(rng, 12)
        made += [request([*question, option], len(question)) for option in range(4)]
    for length in (2, 7, 33):
        made.append(request(draw(rng, length), 1))
    return made
