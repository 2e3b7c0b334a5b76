"""Messages of libraries within errors of this package."""

from hf_core_bpb.cli.main import with_dashes
from hf_core_bpb.errors import reason


def test_a_librarys_argument_is_not_shown_as_an_option_of_the_command():
    assert with_dashes(f"`model`: {reason(ValueError('use `repo_type`'))}") == "--model: use 'repo_type'"
