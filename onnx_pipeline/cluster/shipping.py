"""This package as an archive, which a cluster's machines import without installing it."""

import hashlib
import os
import zipfile
from pathlib import Path

import onnx_pipeline

__all__ = ["archive"]

_EPOCH = (1980, 1, 1, 0, 0, 0)


def archive(folder: Path) -> Path:
    """The package's modules as a zip in `folder`, named by what they hold; made where it does not stand yet."""
    root = Path(onnx_pipeline.__file__).parent
    modules = sorted(root.rglob("*.py"))
    texts = [(f"{root.name}/{module.relative_to(root).as_posix()}", module.read_bytes()) for module in modules]
    digest = hashlib.sha256()
    for name, text in texts:
        digest.update(f"{name}\0{len(text)}\0".encode())
        digest.update(text)
    path = folder / f"onnx_pipeline-{digest.hexdigest()[:16]}.zip"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        hidden = path.with_name(f".{path.name}.{os.getpid()}")
        with zipfile.ZipFile(hidden, "w", zipfile.ZIP_DEFLATED) as made:
            for name, text in texts:
                made.writestr(zipfile.ZipInfo(name, _EPOCH), text, zipfile.ZIP_DEFLATED)
        hidden.replace(path)
    return path
