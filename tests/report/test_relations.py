"""Relations between runs: which there are, and what they show in words."""

import pytest
from support.saved_runs import copy_run, edit_results

from hf_core_bpb.report.relations import relations_of
from hf_core_bpb.results.saved import read_run


@pytest.fixture
def add_run(demo_run, tmp_path):
    def add(name, **numbers):
        return read_run(copy_run(demo_run, tmp_path / name, name, **numbers))

    return add


def trained(tokens):
    return {"tokens": tokens, "flops": 6e6 * tokens}


def test_disagreements_of_core_and_bits_per_byte_are_named(add_run):
    runs = [
        add_run("small", core=0.1, bpb=1.5),
        add_run("middle", core=0.3, bpb=1.2),
        add_run("large", core=0.2, bpb=1.0),
    ]
    # Ranks 1 2 3 of CORE: small, large, middle; of bpb: large, middle, small. rho = 1 - 6 (1 + 1 + 4) / (3 x 8) = -0.5.
    assert relations_of(runs)[0].reading == (
        "Rank correlation -0.50. Bits per byte and core-11 disagree on which is better of middle and large."
    )


def test_many_disagreements_are_counted(add_run):
    runs = [add_run(f"run{i}", core=i / 10, bpb=1 + i / 10) for i in range(6)]
    assert relations_of(runs)[0].reading.endswith("run2 and run3 and 5 more pairs.")


def test_equal_values_are_ties_and_have_no_rank_correlation(add_run):
    runs = [add_run(name) for name in "abc"]
    assert relations_of(runs)[0].reading == "Bits per byte and core-11 agree on every pair without a tie."


def test_ties_share_the_mean_of_their_ranks(add_run):
    runs = [add_run("a", core=0.1, bpb=1.5), add_run("b", core=0.3, bpb=1.2), add_run("c", core=0.3, bpb=1.0)]
    # Ranks 2 1 0 and 0 1.5 1.5: rho = -1.5 / sqrt(2 x 1.5).
    assert relations_of(runs)[0].reading.startswith("Rank correlation -0.87.")


def test_agreement_on_every_pair(add_run):
    runs = [add_run("small", core=0.1, bpb=1.5), add_run("large", core=0.2, bpb=1.2)]
    assert relations_of(runs)[0].reading == "Bits per byte and core-11 agree on every pair."


def test_runs_without_training_data_are_related_to_texts_and_size(add_run):
    names = [relation.name for relation in relations_of([add_run("a"), add_run("b")])]
    assert names == ["core-against-bpb-python-reference", "core-against-bpb-scripts", "core-over-size"]


def test_runs_with_training_data_are_related_to_tokens_and_compute(add_run):
    runs = [add_run("a", core=0.1, trained=trained(1e6)), add_run("b", core=0.2, trained=trained(1e8))]
    tokens, compute = relations_of(runs)[-2:]
    assert (tokens.title, tokens.points) == ("core-11 over training tokens", [("a", 1e6, 0.1), ("b", 1e8, 0.2)])
    assert (compute.title, compute.points) == ("core-11 over training FLOPs", [("a", 6e12, 0.1), ("b", 6e14, 0.2)])


def test_runs_without_training_data_are_named(add_run):
    runs = [add_run("a", trained=trained(1e6)), add_run("b", trained=trained(1e7)), add_run("c")]
    tokens, _ = relations_of(runs)[-2:]
    assert tokens.reading == "Unknown for c."
    assert [name for name, _, _ in tokens.points] == ["a", "b"]


def test_runs_of_different_suites_have_no_relations(demo_run, tmp_path, add_run):
    other = copy_run(demo_run, tmp_path / "other", "other")
    with edit_results(other) as results:
        results["core"]["suite"] = "core-22"
    assert relations_of([add_run("a"), read_run(other)]) == []


def test_a_single_run_has_no_relations(demo_run):
    assert relations_of([read_run(demo_run)]) == []
