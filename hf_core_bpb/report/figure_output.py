"""Figures as files (PNG, SVG, PDF), and as SVG inside the HTML report, in the colours of its theme."""

import io
import re
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from hf_core_bpb.report.figure_parts import GRID, INK, SERIES, SOFT
from hf_core_bpb.results.folder import file_name

# The CSS variables of page.html by colour.
THEME = {INK: "ink", SOFT: "soft", GRID: "line"} | {c: f"series-{i}" for i, c in enumerate(SERIES, 1)}

_NO_DATES: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
_NAMESPACE, _HREF = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
_COLOUR = re.compile("|".join(THEME))
_DECIMAL = re.compile(r"-?\d+\.\d+")
_GEOMETRY = ("viewBox", "d", "x", "y", "transform")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format of the path's suffix. Raises OSError, and ValueError for unknown formats."""
    with _settings():
        figure.savefig(path, dpi=150, metadata=_NO_DATES.get(path.suffix.lower()))


def save_figures(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write figures by name as PNG files into a folder and return the files. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{file_name(name)}.png" for name in figures]
    for figure, path in zip(figures.values(), paths, strict=True):
        save_figure(figure, path)
    return paths


def _settings() -> AbstractContextManager[None]:
    # Text as text in one font, and the same bytes for the same figure.
    return mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "hf_core_bpb", "font.sans-serif": ["DejaVu Sans"]})


def inline_svg(figure: Figure, label: str, prefix: str) -> Markup:
    """Return a figure as SVG for the HTML report: small, in the theme's colours, with a label for screen readers.

    prefix: what ids start with, unique in the page.
    """
    buffer = io.StringIO()
    with _settings(), warnings.catch_warnings():
        # The browser has the fonts that matplotlib lacks.
        warnings.filterwarnings("ignore", "Glyph")
        figure.savefig(buffer, format="svg", transparent=True, metadata=_NO_DATES[".svg"])
    (svg,) = _compact(ElementTree.fromstring(buffer.getvalue()), prefix)  # noqa: S314  (matplotlib wrote it)
    svg.attrib = {"viewBox": svg.attrib["viewBox"], "role": "img", "aria-label": label}
    return Markup(ElementTree.tostring(svg, encoding="unicode"))  # noqa: S704


def _compact(element: ElementTree.Element, prefix: str) -> list[ElementTree.Element]:
    """Return what the page needs of an element: nothing, the element, or the children of a group without style."""
    element[:] = [part for child in element for part in _compact(child, prefix)]
    element.tag, element.tail = element.tag.removeprefix(_NAMESPACE), None
    element.attrib = _attributes(element, prefix)
    if element.tag in ("metadata", "style", "clipPath") or (element.tag == "defs" and len(element) == 0):
        return []
    if element.tag == "path" and element.get("style") == "fill:none":
        return []
    if element.tag != "text":
        element.text = None
    if element.tag == "g":
        _move_style_up(element)
        return [element] if element.attrib else list(element)
    return [element]


def _attributes(element: ElementTree.Element, prefix: str) -> dict[str, str]:
    # Clip paths are left out, as nothing is drawn outside of the axes.
    attributes = {name: _round(element.attrib[name]) for name in _GEOMETRY if name in element.attrib}
    if attributes.get("transform", "").startswith("rotate(-0 "):
        del attributes["transform"]
    if element.tag == "path" and "id" in element.attrib:
        attributes["id"] = f"{prefix}-{element.attrib['id']}"
    if _HREF in element.attrib:
        attributes["href"] = f"#{prefix}-{element.attrib[_HREF][1:]}"
    # The page sets the font.
    declarations = [part.strip() for part in element.get("style", "").split(";")]
    style = ";".join(part.replace(": ", ":") for part in declarations if part and not part.startswith("font"))
    if style:
        attributes["style"] = _COLOUR.sub(lambda match: f"var(--{THEME[match[0]]})", style)
    return attributes


def _round(numbers: str) -> str:
    """Return path data or coordinates with one decimal, enough for figures that are 576 units wide."""
    rounded = _DECIMAL.sub(lambda match: f"{float(match[0]):.1f}".removesuffix(".0"), numbers)
    return re.sub(r"\s+", " ", rounded).strip()


def _move_style_up(group: ElementTree.Element) -> None:
    """Move the style that all points of a group share to the group."""
    if len(group) > 0 and {child.tag for child in group} == {"use"}:
        styles = {child.attrib.get("style") for child in group}
        if len(styles) == 1 and (style := styles.pop()) is not None:
            group.set("style", style)
            for child in group:
                del child.attrib["style"]
