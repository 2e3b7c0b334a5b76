from hf_core_bpb.metrics.grouping import group_by


def test_groups_and_their_values_keep_their_order_of_appearance():
    groups = group_by(["b", "a", "b", "c"], [1, 2, 3, 4])
    assert list(groups.items()) == [("b", [1, 3]), ("a", [2]), ("c", [4])]


def test_no_values_are_no_groups():
    assert group_by([], []) == {}
