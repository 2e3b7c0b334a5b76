"""The command is near the loss, and its options do not walk through the house."""

import pytest
from support.structure import functions_to_the_loss, modules_with_options


@pytest.mark.slow
def test_the_loss_is_few_calls_from_the_command():
    assert len(functions_to_the_loss()) - 1 <= 8


@pytest.mark.slow
def test_the_options_of_the_command_pass_through_few_modules():
    assert len(modules_with_options()) <= 14
