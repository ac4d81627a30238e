"""Modules that tests share without being in a package: `load_script(path)`. This folder is on the path of the tests."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

__all__ = ["load_script"]

_FOLDER = Path(__file__).resolve().parents[1]


def load_script(path: Path) -> ModuleType:
    """The module in the file *path*; as with `import`, the same one each time."""
    name = ".".join(path.resolve().relative_to(_FOLDER.parent).with_suffix("").parts)
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
