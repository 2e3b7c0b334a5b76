"""Imports point down: each row of packages and modules may import only its own row and those below it."""

import ast

ROWS = [
    {"errors", "types", "formatting", "progress", "signature"},
    {"data", "tokenization", "distributed", "scaling"},
    {"protocols", "models", "metrics"},
    {"scoring"},
    {"evaluation"},
    {"results", "training"},
    {"api", "report", "evaluate_metrics"},
    {"bpb", "core", "space", "cli", "__main__"},
]
# The packages and modules that may import a library.
OWNERS = {
    "accelerate": {"distributed", "results", "report"},
    "datasets": {"data", "cli", "results", "evaluate_metrics", "bpb", "core"},
    "evaluate": {"evaluate_metrics", "bpb", "core"},
    "gradio": {"space"},
    "jinja2": {"report", "data", "protocols"},
    "matplotlib": {"report"},
}


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def modules(package):
    """Yield each module's path and dotted name within the package; an __init__ has the name of its package."""
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        yield path, ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def row_of(name):
    return next(index for index, row in enumerate(ROWS) if name.split(".")[0] in row)


def test_no_module_imports_from_a_higher_row(package):
    for path, name in modules(package):
        for module in imported_modules(path) if name else ():
            inner = module.removeprefix("hf_core_bpb.")
            if module != inner and not inner.startswith("__"):
                assert row_of(inner) <= row_of(name), f"{name} imports {inner}"


def test_imports_form_no_cycle(package):
    names = {name for _, name in modules(package)}
    below = {
        name: {m.removeprefix("hf_core_bpb.") for m in imported_modules(path)} & names - {name}
        for path, name in modules(package)
        if name
    }
    while leaves := [name for name, imports in below.items() if not imports & below.keys()]:
        for name in leaves:
            del below[name]
    assert below == {}, f"a cycle among {sorted(below)}"


def test_libraries_are_imported_by_their_owners_only(package):
    for path, name in modules(package):
        for module in imported_modules(path):
            owners = OWNERS.get(module.split(".")[0])
            assert owners is None or name.split(".")[0] in owners, f"{name} imports {module}"


def test_the_root_has_at_most_ten_modules(package):
    assert len(list(package.glob("*.py"))) <= 10
