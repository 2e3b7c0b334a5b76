"""The demo: a small model, rows in the layout of the Hub, and text from the Python installation.

The text is Python's language reference, `pydoc_data.topics`; the model was trained on part of it.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

_FOLDER = Path(__file__).parents[1] / "demo"
DEMO_MODEL = _FOLDER / "model"
DEMO_ROWS = _FOLDER / "rows"
DEMO_SCRIPTS = _FOLDER / "scripts.txt"


def read_topics() -> dict[str, str]:
    """Return the text of each topic, read from the running Python installation."""
    from pydoc_data.topics import topics

    return dict(topics)


def is_held_out(name: str) -> bool:
    """Return whether a topic is held out of training; depends on its name alone, so all Python versions agree."""
    return hashlib.sha256(name.encode()).digest()[0] % 12 == 0


def split_topics(topics: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return training and held-out documents that share no paragraph.

    The reference repeats passages under several topics, so paragraphs of held-out documents are removed from
    the training documents.
    """
    validation = [topics[name] for name in sorted(topics) if is_held_out(name)]
    validation_paragraphs = {paragraph for text in validation for paragraph in text.split("\n\n")}
    training = []
    for name in sorted(topics):
        if not is_held_out(name):
            paragraphs = [p for p in topics[name].split("\n\n") if p not in validation_paragraphs]
            training.append("\n\n".join(paragraphs))
    return training, validation
