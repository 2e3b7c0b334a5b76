"""One item of a task as a model sees it: its prompts, the scored tokens, and the loss of each."""

from dataclasses import dataclass

import numpy as np

from hf_core_bpb.errors import InputError
from hf_core_bpb.evaluation.resolve import ResolvedCore
from hf_core_bpb.evaluation.task_run import TaskRun
from hf_core_bpb.metrics.decision import decide
from hf_core_bpb.models.evaluation_mode import evaluation_mode
from hf_core_bpb.models.language_model import LanguageModel
from hf_core_bpb.scoring.engine import Engine
from hf_core_bpb.types import Request, Scored


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """A token of the scored span, and its loss."""

    id: int
    text: str
    nats: float


@dataclass(frozen=True, slots=True)
class OptionView:
    """An option's prompt as text, the number of tokens before its span, the span, and its sums."""

    prompt: str
    num_context_tokens: int
    tokens: tuple[ScoredToken, ...]
    sums: Scored
    truncated: bool


@dataclass(frozen=True, slots=True)
class ItemView:
    """An item with all of its options, the correct one, the model's choice, and whether it is correct."""

    num_items: int
    options: tuple[OptionView, ...]
    gold: int | None
    prediction: int | None
    correct: bool


def inspect_item(lm: LanguageModel, core: ResolvedCore, index: int) -> ItemView:
    """Return an item of the only task of an evaluation, scored by plain forwards, token by token.

    Raises InputError for an index beyond the task's items.
    """
    (task,) = core.tasks
    run = TaskRun(task, core.load(task), core.protocol, core.options.limit, lm.tokenizer, lm.max_length)
    if not 0 <= index < len(run.items):
        raise InputError(f"`index`: expected 0 to {len(run.items) - 1} in {task.name}, got {index}")
    item, shots = run.items[index], run.shots[index]
    requests = run.requests([index])
    prompts = core.protocol.render(task.kind, item, shots, task.delimiter)[-len(requests) :]
    engine = Engine(lm.model, modes=frozenset())
    with evaluation_mode(lm.model):
        options = tuple(_view(lm, engine, prompt, request) for prompt, request in zip(prompts, requests, strict=True))
    prediction, correct = decide(task.kind, [option.sums for option in options], item.gold)
    gold = None if task.kind == "language_modeling" else item.gold
    return ItemView(len(run.items), options, gold, prediction, correct)


def _view(lm: LanguageModel, engine: Engine, prompt: str, request: Request) -> OptionView:
    ids_T = request.ids.astype(np.int64)
    positions_T = np.arange(1, len(ids_T))
    keep_1xT = ((positions_T >= request.start) & (positions_T < request.end))[None]
    nats_N, greedy_N = engine.forward.losses(ids_T[None, :-1], ids_T[None, 1:], keep_1xT)
    tokens = tuple(
        ScoredToken(int(token_id), str(lm.tokenizer.decode([int(token_id)])), float(nats))
        for token_id, nats in zip(ids_T[request.start : request.end], nats_N, strict=True)
    )
    sums = Scored(float(nats_N.sum()), len(tokens), request.num_bytes, greedy=bool(greedy_N.all()))
    if request.truncated:
        # The rest of the prompt, as far as ids can tell.
        prompt = str(lm.tokenizer.decode(request.ids.tolist()))
    return OptionView(prompt, request.start, tokens, sums, request.truncated)
