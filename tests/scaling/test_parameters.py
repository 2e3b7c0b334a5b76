"""Parameter counts of small models against counts by hand."""

from support.tiny_models import build_tiny_model
from transformers import AutoConfig, AutoModelForCausalLM

from hf_core_bpb.scaling.parameters import ParameterCounts, count_parameters


def test_the_parameters_of_gpt2_by_hand_with_a_tied_head():
    width, layers, vocabulary, positions = 32, 2, 400, 512
    matrices = layers * 12 * width * width
    norms_and_biases = layers * (4 * width + 3 * width + width + 4 * width + width) + 2 * width
    embeddings = (vocabulary + positions) * width
    assert count_parameters(build_tiny_model("gpt2")) == ParameterCounts(
        total=matrices + norms_and_biases + embeddings,
        non_embedding=matrices + norms_and_biases,
        matmul=matrices + vocabulary * width,
        active=matrices + norms_and_biases + embeddings,
    )


def test_an_untied_head_counts_once():
    width, inner, layers, vocabulary = 32, 48, 2, 400
    matrices = layers * (width * width * 2 + width * width // 2 * 2 + 3 * width * inner)
    head = embeddings = vocabulary * width
    norms = (2 * layers + 1) * width
    counts = count_parameters(build_tiny_model("llama"))
    assert counts == ParameterCounts(
        total=matrices + norms + head + embeddings,
        non_embedding=matrices + norms + head,
        matmul=matrices + head,
        active=matrices + norms + head + embeddings,
    )


def test_only_visited_experts_are_active():
    width, inner, experts, visited = 32, 48, 8, 2
    config = AutoConfig.for_model(
        "mixtral",
        vocab_size=400,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_local_experts=experts,
        num_experts_per_tok=visited,
    )
    counts = count_parameters(AutoModelForCausalLM.from_config(config))
    assert counts.total - counts.active == (experts - visited) * 3 * width * inner
