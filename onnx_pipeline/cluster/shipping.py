"""What travels to a cluster's machines: files of this process, and the package itself as an archive.

A machine that joins a session late fetches all files that the session was ever given. So they stay for as long as the
process does.
"""

import atexit
import hashlib
import os
import shutil
import tempfile
import uuid
import zipfile
from functools import lru_cache
from pathlib import Path

from onnx_pipeline.cluster.order import Order

__all__ = ["archive", "kept", "package", "written_down"]

_EPOCH = (1980, 1, 1, 0, 0, 0)


def package() -> Path:
    """The package's archive, made once per process."""
    return _package(os.getpid())


def written_down(order: Order, model: bytes) -> tuple[Path, Path]:
    """An order and its model as files, under names that no other order and no other model has."""
    told = kept(f"order-{uuid.uuid4().hex}.json", order.to_json().encode())
    return told, kept(f"{order.model['normalised_sha256']}.onnx", model)


def kept(name: str, content: bytes) -> Path:
    """A file of that name and content, which stays for as long as this process; a name has one content."""
    path = _folder(os.getpid()) / name
    if not path.exists():
        path.write_bytes(content)
    return path


def archive(folder: Path) -> Path:
    """The package's modules as a zip in `folder`, named by what they hold; made where it does not stand yet."""
    root = Path(__file__).resolve().parents[1]
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


# By the process: a fork has a folder of its own, and leaves its parent's alone.


@lru_cache(maxsize=1)
def _package(process: int) -> Path:
    return archive(_folder(process))


@lru_cache(maxsize=1)
def _folder(process: int) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="onnx_pipeline-"))

    def remove() -> None:
        if os.getpid() == process:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder
