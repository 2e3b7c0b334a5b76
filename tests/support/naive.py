"""Naive loops of one forward per request: the reference for the package's numbers."""

import random

import torch


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0].double()


def nats_of(model, ids, start, end):
    """Return the nats of ids[start:end], each given the ids before it, in float64."""
    logits = logits_of(model, ids)
    return [-torch.log_softmax(logits[t - 1], dim=-1)[ids[t]].item() for t in range(start, end)]


def is_greedy(model, ids, start, end):
    logits = logits_of(model, ids)
    return all(logits[t - 1].argmax().item() == ids[t] for t in range(start, end))


def shared_length(sequences, from_right=False):
    columns = zip(*[reversed(s) if from_right else s for s in sequences], strict=False)
    count = 0
    for column in columns:
        if len(set(column)) > 1:
            break
        count += 1
    return count


def score_item(model, tokenize, kind, rows, index, num_fewshot, delimiter, max_length):
    """Return whether an item of a bundle is correct by nanochat's rules, and the nats of each option's tokens."""
    row = rows[index]
    others = [i for i in range(len(rows)) if i != index]
    shots = [rows[i] for i in random.Random(1234 + index).sample(others, num_fewshot)]
    if kind == "multiple_choice":
        head = "".join(s["query"] + delimiter + s["choices"][s["gold"]] + "\n\n" for s in shots)
        sequences = [tokenize(head + row["query"] + delimiter + choice) for choice in row["choices"]]
        starts = [shared_length(sequences)] * len(sequences)
    elif kind == "schema":
        head = "".join(s["context_options"][s["gold"]] + delimiter + s["continuation"] + "\n\n" for s in shots)
        sequences = [tokenize(head + c + delimiter + row["continuation"]) for c in row["context_options"]]
        suffix = shared_length(sequences, from_right=True)
        starts = [len(s) - suffix for s in sequences]
    else:
        head = "".join(s["context"].strip() + delimiter + s["continuation"] + "\n\n" for s in shots)
        prompt = head + row["context"].strip() + delimiter
        sequences = [tokenize(prompt + row["continuation"])]
        starts = [len(tokenize(prompt.strip()))]
    nats = []
    for sequence, start in zip(sequences, starts, strict=True):
        cut = max(0, len(sequence) - max_length)
        truncated = sequence[cut:]
        if kind == "language_modeling":
            return is_greedy(model, truncated, start - cut, len(truncated)), [
                nats_of(model, truncated, start - cut, len(truncated))
            ]
        nats.append(nats_of(model, truncated, start - cut, len(truncated)))
    means = [sum(n) / len(n) for n in nats]
    return means.index(min(means)) == row["gold"], nats
