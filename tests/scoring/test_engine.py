"""Fast paths and heads on many architectures, against a naive loop of one forward per request."""

import re

import numpy as np
import pytest
import torch
from support.architectures import CORRECT, SILENTLY_WRONG, TAKE_SECONDS
from support.naive import nats_of, score_span
from support.requests import draw, request, sharing_requests
from support.tiny_models import build_tiny_model

from hf_core_bpb.errors import InputError, RunError
from hf_core_bpb.models.evaluation_mode import evaluation_mode
from hf_core_bpb.progress import SilentProgress
from hf_core_bpb.scoring import probe as probes
from hf_core_bpb.scoring.engine import FAST_PATHS, Engine
from hf_core_bpb.scoring.float64 import can_widen, in_float64
from hf_core_bpb.scoring.trie import build_trie
from hf_core_bpb.types import Request, Work


def score(engine, requests, batch_tokens=300, verify=True):
    """Return the sums and the work of requests, by fast paths that passed the check unless `verify` is off."""
    trie = build_trie(requests)
    while verify and (unverified := engine.unverified(engine.plan(trie, batch_tokens), 70)):
        engine.apply_verdicts([engine.verify(unverified, 70)], 70)
    scored, work, finished = engine.score(requests, trie, engine.plan(trie, batch_tokens), SilentProgress())
    assert finished
    return scored, work


def score_spans(model, requests):
    return [score_span(model, one.ids.tolist(), one.start, one.end) for one in requests]


def check(model, requests, scored, tolerance=3e-3, spans=None):
    """Compare sums with those of a naive loop, `spans`.

    The tolerance is for sums of up to 60 float32 losses; rounding that changes the choice of experts has most effect.
    """
    assert sorted(scored) == list(range(len(requests)))
    naive = spans if spans is not None else score_spans(model, requests)
    for index, (current, (expected, greedy)) in enumerate(zip(requests, naive, strict=True)):
        assert scored[index].total_nats == pytest.approx(sum(expected), rel=2e-5, abs=tolerance), index
        assert scored[index].greedy == greedy
        assert scored[index].num_tokens == len(expected)
        assert scored[index].num_bytes == current.num_bytes


@pytest.mark.parametrize(
    "architecture", [pytest.param(a, marks=pytest.mark.slow) if a in TAKE_SECONDS else a for a in sorted(CORRECT)]
)
def test_correct_fast_paths_score_as_plain_forwards_and_wrong_ones_are_disabled(architecture):
    model = build_tiny_model(architecture)
    requests = sharing_requests()
    spans = score_spans(model, requests)
    with in_float64(model):
        exact_spans = score_spans(model, requests) if CORRECT[architecture] else None
    check(model, requests, score(Engine(model, frozenset()), requests)[0], spans=spans)
    for mode in sorted(FAST_PATHS):
        engine = Engine(model, frozenset({mode}))
        assert engine.unverified(engine.plan(build_trie(requests), 300), 70) == [mode]
        disabled = engine.apply_verdicts([engine.verify([mode], 70)], 70)
        assert bool(disabled) == (mode not in CORRECT[architecture]), disabled
        if not disabled:
            check(model, requests, score(engine, requests)[0], spans=spans)
            with in_float64(model):
                check(model, requests, score(engine, requests)[0], 1e-8, exact_spans)
            assert mode in {job.mode for job in engine.plan(build_trie(requests), 300)}


def scale_weights(model, factor):
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.mul_(factor)
    return model


@pytest.mark.parametrize("weights", [pytest.param(1.0, marks=pytest.mark.instruction_sets), 0.07])
@pytest.mark.parametrize("architecture", sorted(CORRECT))
def test_errors_of_correct_and_wrong_fast_paths_are_ten_times_away_from_the_limit(architecture, weights):
    """With weights of an untrained model, errors of wrong fast paths are as small as 1e-7 nats."""
    model = scale_weights(build_tiny_model(architecture), weights)
    head = probes.choose_head(model)
    probe = probes.Probe(model, probes.random_requests(model, probes.probe_length(model, 80)), head)
    for mode in sorted(FAST_PATHS):
        try:
            structure, rounding = probe.structure_error(head, mode), probe.rounding_error(head, mode)
        except (InputError, RuntimeError, TypeError, ValueError):
            assert mode not in CORRECT[architecture]
            continue
        if mode in CORRECT[architecture]:
            assert 10 * structure.relative <= structure.allowed
            assert 10 * rounding.relative <= rounding.allowed
        else:
            assert structure.relative >= 10 * structure.allowed


@pytest.mark.parametrize("architecture", ["gpt2", "phi3", "qwen3_next", "gpt_oss", "mamba2"])
def test_float64_reaches_every_layer_and_does_not_change_the_model(architecture):
    """90 tokens: beyond 80, Phi-3 replaces its rotary factors."""
    model = build_tiny_model(architecture)
    ids = torch.from_numpy(np.random.default_rng(2).integers(0, 400, (1, 90)))
    with torch.inference_mode():
        before = model(input_ids=ids, use_cache=False).logits
        with in_float64(model):
            wide = model(input_ids=ids, use_cache=False).logits
            shorter = torch.cat([model(input_ids=ids[:, :n], use_cache=False).logits[:, -1:] for n in (88, 89, 90)], 1)
        after = model(input_ids=ids, use_cache=False).logits
    assert wide.dtype == torch.float64
    assert torch.equal(before, after)
    assert {t.dtype for t in [*model.parameters(), *model.buffers()] if t.is_floating_point()} == {torch.float32}
    assert float((wide - before).abs().max()) < 0.01
    # If any layer rounded to float32, rows of other lengths would agree to seven digits only.
    assert torch.allclose(wide[:, -3:], shorter, rtol=1e-11, atol=1e-11)


def test_a_model_that_cannot_run_in_float64_is_checked_in_its_dtype(monkeypatch):
    assert can_widen(build_tiny_model())
    assert not can_widen(build_tiny_model().to("meta"))
    model = build_tiny_model("jamba")
    monkeypatch.setattr(probes, "can_widen", lambda _model: False)
    probe = probes.Probe(model, probes.random_requests(model, 48), "full")
    rounding = probe.structure_error("masked", "prefix")
    assert rounding.relative > 10 * rounding.allowed == 10 * 5e-5
    assert "failed the accuracy check" in probe.failure("masked", "prefix")
    assert probe.failure("masked", "full") is None


@pytest.mark.parametrize(("architecture", "mode"), SILENTLY_WRONG)
def test_fast_paths_that_fail_the_check_give_wrong_losses(architecture, mode):
    model = build_tiny_model(architecture)
    requests = sharing_requests()
    scored, _ = score(Engine(model, frozenset({mode})), requests, verify=False)
    errors = [
        abs(scored[n].total_nats - sum(nats_of(model, r.ids.tolist(), r.start, r.end))) for n, r in enumerate(requests)
    ]
    assert max(errors) > 0.01
    assert re.fullmatch(
        r"it failed the accuracy check \(relative error [\d.e+-]+, up to [\d.e+-]+ nats per token\)",
        Engine(model).verify([mode], 70)[mode],
    )


def test_a_fast_path_is_verified_again_when_requests_exceed_a_window():
    """Up to 64 tokens, a window of 64 hides nothing, and the caches of sliding layers have the whole prefix."""
    model = build_tiny_model("gemma2", window=64)
    engine = Engine(model)
    assert engine.apply_verdicts([engine.verify(["prefix+tree"], 60)], 60) == {}
    jobs = engine.plan(build_trie(sharing_requests()), 300)
    assert "prefix+tree" not in engine.unverified(jobs, 64)
    assert "prefix+tree" in engine.unverified(jobs, 65)
    assert list(engine.apply_verdicts([engine.verify(["prefix+tree"], 65)], 65)) == ["prefix+tree"]


def test_the_cheapest_correct_head_is_chosen():
    assert Engine(build_tiny_model("gemma2")).forward.headed.head == "replayed"
    assert Engine(build_tiny_model("granite")).forward.headed.head == "replayed"
    # OPT's forward calls the decoder inside its base model, not the base model.
    assert Engine(build_tiny_model("opt")).forward.headed.head == "masked"
    assert Engine(WholeLogits(build_tiny_model())).forward.headed.head == "full"


@pytest.mark.parametrize("architecture", ["gpt2", "gemma2", "granite", "opt"])
@pytest.mark.parametrize("head", ["replayed", "masked", "full"])
def test_every_head_gives_the_same_losses(architecture, head):
    if (architecture, head) == ("opt", "replayed"):
        return
    model = build_tiny_model(architecture)
    requests = sharing_requests()
    scored, work = score(Engine(model, frozenset(), head), requests)
    check(model, requests, scored)
    if head == "full":
        assert work.head_rows == work.forward_tokens


def test_a_replayed_head_does_not_change_the_model():
    model = build_tiny_model()
    before = dict(model.transformer.__dict__)
    score(Engine(model, head="replayed"), sharing_requests())
    assert model.transformer.__dict__ == before


@pytest.mark.parametrize("strategy", ["replayed", "masked"])
def test_logits_larger_than_a_chunk_are_read_in_chunks(monkeypatch, strategy):
    from hf_core_bpb.scoring import head

    monkeypatch.setattr(head, "_CHUNK_ELEMENTS", 3 * 400)
    model = build_tiny_model("gemma2")
    requests = sharing_requests()
    check(model, requests, score(Engine(model, head=strategy), requests)[0])


@pytest.mark.parametrize(
    ("modes", "expected"),
    [
        # Last tokens are not forwarded: rows of 30 + 3, 30 + 1 and 30 + 5 tokens. Head rows: 4, 2 and 6.
        (set(), Work(forwards=1, forward_tokens=3 * 35, head_rows=12)),
        # 30 + 3 + 1 + 3 tokens. All first tokens are read at the last of the prompt, and the first and third option
        # share two more: 1 + (2 + 1) + 1 + 3 head rows.
        ({"tree"}, Work(forwards=1, forward_tokens=37, head_rows=8)),
        ({"prefix"}, Work(forwards=2, forward_tokens=30 + 3 * 5, head_rows=1 + 3 + 1 + 5)),
    ],
    ids=["full", "tree", "prefix"],
)
def test_tokens_forwards_and_head_rows_are_counted(modes, expected):
    """By hand: a prompt of 30 tokens, options of 4 and 2, and one of 6 that starts with two tokens of the first."""
    rng = np.random.default_rng(8)
    prompt, first = draw(rng, 30), draw(rng, 4)
    requests = [request(prompt + option, 30) for option in (first, draw(rng, 2), first[:2] + draw(rng, 4))]
    _, work = score(Engine(build_tiny_model(), frozenset(modes), "masked"), requests)
    assert work == expected


def test_options_of_one_token_share_one_row_and_one_head_row():
    requests = [request([5, 6, 7, option], 3) for option in range(50)]
    _, work = score(Engine(build_tiny_model(), frozenset(), "masked"), requests)
    assert work == Work(forwards=1, forward_tokens=3, head_rows=1)


def test_requests_with_one_array_of_ids_share_a_row():
    ids = np.arange(1, 20, dtype=np.int32)
    requests = [Request(ids, 1, 6, 1), Request(ids, 4, 9, 1), Request(ids, 12, 19, 1)]
    model = build_tiny_model()
    scored, work = score(Engine(model, head="masked"), requests)
    assert work == Work(forwards=1, forward_tokens=18, head_rows=8 + 7)
    check(model, requests, scored)


@pytest.mark.parametrize("batch_tokens", [1, 40, 2000])
def test_results_do_not_depend_on_the_budget(batch_tokens):
    model = build_tiny_model()
    requests = sharing_requests()
    expected, _ = score(Engine(model), requests, 300)
    scored, _ = score(Engine(model), requests, batch_tokens)
    for index in range(len(requests)):
        assert scored[index].total_nats == pytest.approx(expected[index].total_nats, rel=1e-5)


def test_results_do_not_depend_on_the_order_of_requests():
    model = build_tiny_model()
    requests = sharing_requests()
    expected, _ = score(Engine(model), requests)
    order = np.random.default_rng(0).permutation(len(requests)).tolist()
    scored, _ = score(Engine(model), [requests[i] for i in order])
    assert {order[i]: sums for i, sums in scored.items()} == expected


@pytest.mark.parametrize("modes", [frozenset(), FAST_PATHS])
def test_requests_on_both_sides_of_a_rotary_factor_change_score_as_alone(modes):
    """A prompt of 78 tokens, options that end before and after 80: one batch would use the factors of the longest."""
    rng = np.random.default_rng(4)
    prompt = draw(rng, 78)
    requests = [request(prompt + draw(rng, n), 78) for n in (1, 2, 4, 5, 6)]
    requests += [request(draw(rng, n), 1) for n in (76, 77, 78, 79, 80, 82, 83, 84)]
    model = build_tiny_model("phi3")
    engine = Engine(model, modes)
    tries = engine.build_tries(requests)
    assert len(tries) == 2
    scored = {}
    for trie in tries:
        scored |= engine.score(requests, trie, engine.plan(trie, 5000), SilentProgress())[0]
    check(model, requests, scored)


def test_greedy_is_true_only_if_every_token_is_the_argmax():
    model = build_tiny_model()
    ids = [5, 6, 7]
    for _ in range(4):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    scored, _ = score(Engine(model), [request(ids, 3), request([*ids, 0], 3)])
    assert scored[0].greedy
    assert not scored[1].greedy


class WholeLogits(torch.nn.Module):
    """A model without `logits_to_keep`."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, input_ids, use_cache=None):
        return self.inner(input_ids=input_ids, use_cache=use_cache)


class WrongPositions(WholeLogits):
    """A model that returns logits for other positions than requested."""

    def forward(self, input_ids, use_cache=None, logits_to_keep=0):
        wrong = torch.flip(logits_to_keep, dims=[1]) if isinstance(logits_to_keep, torch.Tensor) else logits_to_keep
        return self.inner(input_ids=input_ids, use_cache=use_cache, logits_to_keep=wrong)


@pytest.mark.parametrize("wrapper", [WholeLogits, WrongPositions])
def test_a_head_without_correct_logits_to_keep_runs_on_all_positions(wrapper):
    inner = build_tiny_model()
    requests = sharing_requests()
    engine = Engine(wrapper(inner), frozenset())
    scored, work = score(engine, requests)
    check(inner, requests, scored)
    assert engine.forward.headed.head == "full"
    assert work.head_rows == work.forward_tokens


def test_a_model_without_a_configuration_is_scored_by_plain_forwards():
    inner = build_tiny_model()
    engine = Engine(WholeLogits(inner))
    disabled = engine.apply_verdicts([engine.verify(FAST_PATHS, 60)], 60)
    assert set(disabled) == set(FAST_PATHS)
    check(inner, sharing_requests(), score(engine, sharing_requests())[0])


def test_scoring_restores_the_training_mode_of_every_module():
    model = build_tiny_model()
    model.train()
    model.transformer.h[0].eval()
    before = [module.training for module in model.modules()]
    score(Engine(model), sharing_requests())
    assert [module.training for module in model.modules()] == before


def test_dropout_is_off_while_scoring():
    model = build_tiny_model()
    expected, _ = score(Engine(model), sharing_requests())
    model.train()
    assert score(Engine(model), sharing_requests())[0] == expected


def test_non_finite_logits_raise_a_clear_error():
    model = build_tiny_model()
    with torch.no_grad():
        model.transformer.ln_f.weight.fill_(float("nan"))
    with pytest.raises(RunError, match="the model's logits are not finite"):
        score(Engine(model), sharing_requests())


def test_a_model_that_looks_ahead_is_rejected():
    from transformers import AutoConfig, BertForMaskedLM

    config = AutoConfig.for_model(
        "bert", vocab_size=400, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48
    )
    torch.manual_seed(7)

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = BertForMaskedLM(config)

        def forward(self, input_ids, use_cache=None):
            return self.inner(input_ids=input_ids)

    with torch.no_grad():
        model = Encoder().eval()
        for weight in model.parameters():
            weight.normal_(std=0.5)
    with pytest.raises(InputError, match="expected a causal language model, got Encoder, which looks at later tokens"):
        Engine(model)


def test_nats_are_summed_in_float64():
    """A sum in float32 would lose digits of the float32 losses."""
    model = build_tiny_model()
    ids = np.random.default_rng(5).integers(0, 400, 400)
    engine = Engine(model)
    with evaluation_mode(model):
        nats_N, _ = engine.forward.losses(ids[None, :-1], ids[None, 1:], np.ones((1, 399), dtype=bool))
    assert nats_N.dtype == np.float64
    scored, _ = score(engine, [Request(ids.astype(np.int32), 1, 400, 1)], 1000)
    assert scored[0].total_nats == pytest.approx(float(np.sum(nats_N)), rel=1e-14)
    assert scored[0].total_nats != float(np.sum(nats_N.astype(np.float32), dtype=np.float32))


def test_losses_of_large_logits_are_precise():
    from hf_core_bpb.scoring.forward import read_losses

    logits_NxV = torch.tensor([[3000.0, 2999.5, 2990.25], [-3000.0, -2999.0, -3001.0]])
    nats_M, greedy_M = read_losses([logits_NxV.clone()], np.array([0, 0, 1]), np.array([0, 1, 2]))
    losses_NxV = -torch.log_softmax(logits_NxV.double(), dim=-1)
    assert nats_M == pytest.approx(losses_NxV[[0, 0, 1], [0, 1, 2]].tolist(), rel=1e-6)
    assert greedy_M.tolist() == [True, False, False]


def test_no_fast_path_is_verified_while_losses_do_not_depend_on_the_context():
    """With a head of zeros every fast path seems correct; with other weights, Jamba's fast paths are wrong."""
    model = build_tiny_model("jamba")
    weights = model.get_output_embeddings().weight.detach().clone()
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()
    failures = Engine(model).verify(FAST_PATHS, 60)
    assert all("do not depend on their context" in failure for failure in failures.values())
    with torch.no_grad():
        model.get_output_embeddings().weight.copy_(weights)
    requests = sharing_requests()
    check(model, requests, score(Engine(model), requests)[0])


def test_trees_wider_than_a_window_of_columns_are_disabled():
    """GPT-Neo's local attention: paths of 32 tokens, trees of hundreds of columns, a window of 64."""
    from transformers import GPTNeoConfig, GPTNeoForCausalLM

    from hf_core_bpb.scoring.scorer import Scorer
    from hf_core_bpb.scoring.workload import build_workload

    torch.manual_seed(7)
    config = GPTNeoConfig(
        vocab_size=400, hidden_size=256, num_layers=2, num_heads=2, attention_types=[[["global", "local"], 1]],
        window_size=64, max_position_embeddings=512, intermediate_size=48, initializer_range=0.1,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = GPTNeoForCausalLM(config).eval()
    rng = np.random.default_rng(0)
    prompt = draw(rng, 12)
    requests = [request(prompt + draw(rng, 20), 12) for _ in range(12)]
    scorer = Scorer(model, 2048)
    with pytest.warns(UserWarning, match="Fast path 'tree' disabled for .*: it failed the accuracy check"):
        scored = scorer.score(build_workload({"a": lambda: requests}))
    check(model, requests, dict(enumerate(scored.sums["a"])))


@pytest.mark.parametrize("architecture", ["mpt", "gpt2"])
@pytest.mark.parametrize("positions", [2, 3, 5, 8, 13, 20, 64])
def test_forwards_are_no_wider_than_the_model_has_positions(architecture, positions):
    """Prefixes and rows of different lengths are wider together than any request."""
    model = build_tiny_model(architecture, positions)
    rng = np.random.default_rng(5)
    requests = []
    for share in (0.8, 0.3):
        prompt = draw(rng, max(1, int(share * positions)))
        lengths = {max(1, positions - len(prompt) - shorter) for shorter in (0, 1, 2)}
        requests += [request(prompt + draw(rng, n), len(prompt)) for n in sorted(lengths)]
    for batch_tokens in (1, 400, 4000):
        check(model, requests, score(Engine(model), requests, batch_tokens)[0])


@pytest.mark.parametrize("size", [1, 2])
def test_a_vocabulary_of_one_or_two_ids_is_scored(size):
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(vocab_size=size, n_embd=16, n_layer=1, n_head=2)).eval()
    requests = [request([0, size - 1, 0, size - 1], 1)]
    check(model, requests, score(Engine(model), requests)[0])


def test_requests_are_split_at_the_factor_change_by_forwarded_tokens():
    """A request of 87 ids whose span ends at 77 forwards 76 tokens, fewer than the 80 where factors change."""
    rng = np.random.default_rng(6)
    model = build_tiny_model("phi3")
    ids = np.array(draw(rng, 87), dtype=np.int32)
    requests = [Request(ids, 40, 77, 1), request(draw(rng, 87), 1)]
    engine = Engine(model)
    tries = engine.build_tries(requests)
    assert [trie.longest for trie in tries] == [76, 86]
    scored = {}
    for trie in tries:
        scored |= engine.score(requests, trie, engine.plan(trie, 400), SilentProgress())[0]
    assert scored[0].total_nats == pytest.approx(sum(nats_of(model, ids[:77].tolist(), 40, 77)), rel=2e-5)
