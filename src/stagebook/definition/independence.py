"""Stages talk through what they read and write: a module that declares stages imports no other one that does.

Models live in a module of their own; the one module that makes the `Pipeline` may import and be imported by all.
"""

import ast
import sys
from collections.abc import Iterable, Iterator

from stagebook.definition.declaration import Declared
from stagebook.definition.function_code import Sources
from stagebook.definition.place import Place, problem


def refuse_imports(stages: Iterable[Declared], pipeline: Place, sources: Sources) -> None:
    """Refuse that a module with stages imports another one.

    Args:
        stages: All stages of a pipeline.
        pipeline: Where the pipeline is made.
        sources: Parsed files.

    Raises:
        DefinitionError: One does; the text names the import's line.
    """
    first: dict[str, Declared] = {}
    for one in stages:
        if one.declared.module != pipeline.module:
            first.setdefault(one.declared.module, one)
    if len(first) < 2:  # noqa: PLR2004  one module cannot import another
        return
    for module, declared in first.items():
        tree = sources.tree(declared.declared.file)
        for line, names in _imports(tree, module) if tree is not None else ():
            for name in names:
                if name in first and name != module:
                    raise problem(
                        Place(declared.declared.file, line, module),
                        declared.name,
                        f"its module imports {name.rpartition('.')[2]!r}, which declares {first[name].name!r}, and "
                        "stages talk only through what they read and write",
                        "read that stage by a parameter (or name it as text), and keep shared models in models.py",
                    )


def _imports(tree: ast.Module, module: str) -> Iterator[tuple[int, list[str]]]:
    """List the imports of a module, wherever they stand, as full names of the modules that they may mean."""
    package = str(getattr(sys.modules.get(module), "__package__", None) or "")
    folder = module.partition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            plain = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            plain = [source, *(f"{source}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield node.lineno, [*plain, *(f"{folder}.{name}" for name in plain)]
