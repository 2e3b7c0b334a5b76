"""The section marks in HellaSwag's texts."""


def without_section_marks(text: str) -> str:
    """Return a text with its title marks as full stops and without its other marks, in linear time."""
    *closed, rest = text.strip().replace(" [title]", ". ").split("]")
    return "".join([*map(_without_mark, closed), rest]).replace("  ", " ")


def _without_mark(text: str) -> str:
    """Return the text before a "]" without its mark: all from the first "[" on the same line, if there is one."""
    start = text.find("[", text.rfind("\n") + 1)
    return f"{text}]" if start < 0 else text[:start]
