"""Imports a user's file so that it finds the files beside it, and leaves no trace in `sys.path`.

`import models` in `/a/scan.py` means `/a/models.py`, as if Python had been started with that file; but two files of one
name in different folders stay two modules, since each folder is a package of its own under a name that nobody else has.
"""

import builtins
import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

PREFIX = "stagebook_file_"


def import_file(path: Path) -> ModuleType:
    """Import a file once; asked again, it is the same module.

    A file that can be imported by its own name (it belongs to an installed package) is imported by it.

    Args:
        path: An existing file.

    Raises:
        Exception: Whatever the file raises.
    """
    path = path.resolve()
    root, parts = _root(path)
    folder = UserFolder.of(root)
    if not folder.owns(parts[0]) and all(part.isidentifier() for part in parts):
        return importlib.import_module(".".join(parts))
    name = ".".join([folder.package, *(part.replace(".", "_") for part in parts)])
    if name in sys.modules:
        return sys.modules[name]
    for depth in range(1, len(parts)):
        importlib.import_module(".".join([folder.package, *parts[:depth]]))
    spec = importlib.util.spec_from_file_location(name, path, loader=UserFileLoader(name, str(path), folder))
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


class UserFolder:
    """A folder with users' files in it, as a package.

    Args:
        root: The folder.
    """

    _known: dict[Path, "UserFolder"] = {}  # noqa: RUF012  like `sys.modules`: one package a folder and process

    def __init__(self, root: Path) -> None:
        self.root = root
        self.package = PREFIX + blake2b(str(root).encode(), digest_size=6).hexdigest()
        self._owned: dict[str, bool] = {}
        package = ModuleType(self.package)
        package.__path__ = [str(root)]
        sys.modules[self.package] = package

    @classmethod
    def of(cls, root: Path) -> "UserFolder":
        """Give the folder's package."""
        if not any(isinstance(one, UserFinder) for one in sys.meta_path):
            sys.meta_path.insert(0, UserFinder())
        if root not in cls._known:
            cls._known[root] = cls(root)
        return cls._known[root]

    @classmethod
    def named(cls, package: str) -> "UserFolder | None":
        """Find a folder by its package's name."""
        return next((one for one in cls._known.values() if one.package == package), None)

    def owns(self, name: str) -> bool:
        """Whether a name means a file of this folder, and Python itself would not find that very file under it."""
        if name not in self._owned:
            self._owned[name] = self._find(name)
        return self._owned[name]

    def _find(self, name: str) -> bool:
        candidates = [self.root / f"{name}.py", self.root / name / "__init__.py"]
        there = [one for one in candidates if one.is_file()]
        try:
            elsewhere = importlib.util.find_spec(name)
        except (ImportError, ValueError):  # ValueError: a module without a spec, such as `__main__`
            elsewhere = None
        if not there:
            return elsewhere is None and (self.root / name).is_dir()
        origin = elsewhere.origin if elsewhere is not None else None
        return origin is None or Path(origin).resolve() not in [one.resolve() for one in there]

    def import_(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002  the names of `builtins.__import__`
        locals: Mapping[str, object] | None = None,  # noqa: A002  as above
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """Import as `builtins.__import__` does, the files of this folder first."""
        top = name.partition(".")[0]
        if level or not self.owns(top):
            return builtins.__import__(name, globals, locals, fromlist, level)
        if fromlist:
            return builtins.__import__(f"{self.package}.{name}", globals, locals, fromlist, 0)
        importlib.import_module(f"{self.package}.{name}")
        return sys.modules[f"{self.package}.{top}"]


class UserFileLoader(SourceFileLoader):
    """Runs a file with the imports of its folder.

    Args:
        name: Full name of the module.
        path: The file.
        folder: Its folder.
    """

    def __init__(self, name: str, path: str, folder: UserFolder) -> None:
        super().__init__(name, path)
        self._folder = folder

    def exec_module(self, module: ModuleType) -> None:
        """Run the file."""
        given: dict[str, Any] = dict(vars(builtins))
        given["__import__"] = self._folder.import_
        module.__dict__["__builtins__"] = given
        super().exec_module(module)


class UserFinder(MetaPathFinder):
    """Finds modules below the packages of users' folders."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Find a module that stands in a user's folder."""
        if not fullname.startswith(PREFIX):
            return None
        folder = UserFolder.named(fullname.partition(".")[0])
        spec = PathFinder.find_spec(fullname, path, target)
        if folder is not None and spec is not None and isinstance(spec.loader, SourceFileLoader) and spec.origin:
            spec.loader = UserFileLoader(fullname, spec.origin, folder)
        return spec


def _root(path: Path) -> tuple[Path, list[str]]:
    """Find the folder that imports start from (the first that is no package), and the path from there."""
    root = path.parent
    parts = [path.stem] if path.name != "__init__.py" else []
    while (root / "__init__.py").is_file() and root.parent != root:
        parts.insert(0, root.name)
        root = root.parent
    return root, parts
