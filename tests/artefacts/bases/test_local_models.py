"""Models of the hub's cache, Ollama and LM Studio are found in folders as those programs lay them."""

import json
from pathlib import Path

import pytest
from huggingface_hub import constants
from small_bases import network, write_base, write_gguf

from menura.artefacts.bases import base as bases
from menura.artefacts.bases import places as base_places
from menura.artefacts.bases.local_models import MODEL_LAYER, local_models
from menura.errors import ConfigError, MenuraError, StorageError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, empty_workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give one test a home with nothing in it, and no network."""
    del empty_workspace

    def called(*args: object, **kwargs: object) -> None:
        raise AssertionError("a hub was asked")

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(base_places, "urlopen", called)
    return tmp_path / "home"


def put_in_ollama(root: Path, name: str, tag: str = "latest", owner: str = "library") -> Path:
    """Lay a model as Ollama does; return its file of weights."""
    blob = root / "blobs" / f"sha256-{name}{tag}"
    blob.parent.mkdir(parents=True, exist_ok=True)
    write_gguf(blob, network(seed=len(tag)))
    manifest = root / "manifests" / "registry.ollama.ai" / owner / name / tag
    manifest.parent.mkdir(parents=True, exist_ok=True)
    template = {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:none"}
    layers = [template, {"mediaType": MODEL_LAYER, "digest": f"sha256:{name}{tag}"}]
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    return blob


def put_in_hub_cache(root: Path, name: str) -> Path:
    """Lay a model as the hub's cache does; return its snapshot."""
    repo = root / f"models--{name.replace('/', '--')}"
    snapshot = repo / "snapshots" / COMMIT
    write_base(snapshot)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    return snapshot


def test_a_model_of_ollama_is_a_base_by_its_name(own_home: Path) -> None:
    root = own_home / ".ollama" / "models"
    blob = put_in_ollama(root, "llama3.2")
    other = put_in_ollama(root, "llama3.2", "1b")
    put_in_ollama(root, "mine", owner="somebody")
    assert [(model.name, model.path.name) for model in local_models()] == [
        ("ollama:llama3.2:1b", other.name),
        ("ollama:llama3.2", blob.name),
        ("ollama:somebody/mine", "sha256-minelatest"),
    ]
    for name, path in (("ollama:llama3.2", blob), ("ollama:llama3.2:latest", blob), ("ollama:llama3.2:1b", other)):
        assert bases.folder_of(name) == path
    loaded = bases.load("ollama:llama3.2:1b", offline=True, say=lambda line: None)
    assert (loaded.base.name, loaded.base.source) == ("ollama:llama3.2:1b", "gguf")


def test_a_name_that_ollama_does_not_have_lists_near_ones(own_home: Path) -> None:
    with pytest.raises(StorageError, match="Ollama keeps no models on this machine"):
        bases.pull("ollama:llama3.2")
    put_in_ollama(own_home / ".ollama" / "models", "llama3.2", "1b")
    with pytest.raises(ConfigError, match="Ollama has no model 'ollama:llama3'; near: ollama:llama3.2:1b") as caught:
        bases.pull("ollama:llama3")
    assert caught.value.problems[0].hint == "--base ollama:llama3.2:1b"


def test_ollama_s_folder_may_be_elsewhere_and_damage_in_it_hides_no_other_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "elsewhere"
    monkeypatch.setenv("OLLAMA_MODELS", str(root))
    put_in_ollama(root, "good")
    for number, text in enumerate(("{", "[]", '{"layers": [{}]}', '{"layers": 3}', '{"layers": [{"mediaType": 1}]}')):
        (root / "manifests" / "registry.ollama.ai" / "library" / "good" / f"bad{number}").write_text(text)
    put_in_ollama(root, "gone").unlink()
    outside = {"layers": [{"mediaType": MODEL_LAYER, "digest": "../../secret"}]}
    (tmp_path / "secret").write_text("GGUF")
    (root / "manifests" / "registry.ollama.ai" / "library" / "good" / "out").write_text(json.dumps(outside))
    assert [model.name for model in local_models()] == ["ollama:good"]


def test_a_model_of_lm_studio_is_a_base_by_any_part_of_its_name_that_is_enough(own_home: Path) -> None:
    new, old = own_home / ".lmstudio" / "models", own_home / ".cache" / "lm-studio" / "models"
    files = (
        new / "acme" / "One-GGUF" / "one-q4_0.gguf",
        new / "acme" / "One-GGUF" / "one-q8_0.gguf",
        new / "acme" / "One-GGUF" / "mmproj-one.gguf",
        old / "other" / "Two-GGUF" / "two.gguf",
    )
    for number, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_gguf(file, network(seed=number))
    assert [model.name for model in local_models()] == [
        "lmstudio:acme/One-GGUF/one-q4_0.gguf",
        "lmstudio:acme/One-GGUF/one-q8_0.gguf",
        "lmstudio:other/Two-GGUF/two.gguf",
    ]
    for name in ("other/Two-GGUF/two.gguf", "other/two-gguf", "two", "Two-GGUF"):
        assert bases.folder_of(f"lmstudio:{name}") == files[3]
    with pytest.raises(ConfigError, match="2 files of LM Studio") as caught:
        bases.pull("lmstudio:acme/One-GGUF")
    assert bases.folder_of(caught.value.problems[0].hint.removeprefix("--base ")) == files[0]
    with pytest.raises(ConfigError, match="has no model 'lmstudio:twoo'; near: .*two.gguf"):
        bases.pull("lmstudio:twoo")


def test_a_hub_id_in_the_cache_is_used_where_it_lies_and_no_hub_is_asked(tmp_path: Path) -> None:
    snapshot = put_in_hub_cache(tmp_path / "hub", "somebody/small")
    for offline in (False, True):
        loaded = bases.load("somebody/small", offline=offline, say=lambda line: None)
        assert (loaded.base.name, loaded.base.source) == ("somebody/small", "hub")
        assert loaded.hf_tokenizer.chat_template
    assert bases.folder_of("somebody/small") == snapshot
    assert bases.on_disk() == []
    assert [(model.name, model.program) for model in local_models()] == [("somebody/small", "hub cache")]


def test_of_a_hub_id_that_the_cache_has_in_part_the_hub_is_asked_for_the_rest(tmp_path: Path) -> None:
    snapshot = put_in_hub_cache(tmp_path / "hub", "somebody/small")
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(AssertionError, match="a hub was asked"):
        bases.load("somebody/small", say=lambda line: None)
    with pytest.raises(MenuraError, match="model.safetensors is missing"):
        bases.load("somebody/small", offline=True)


def test_a_hub_id_that_an_earlier_version_copied_is_taken_from_the_workspace(tmp_path: Path) -> None:
    put_in_hub_cache(tmp_path / "hub", "somebody/small")
    write_base(tmp_path / "bases" / "somebody--small", seed=5)
    assert bases.folder_of("somebody/small") == tmp_path / "bases" / "somebody--small"
    assert bases.load("somebody/small").base.source == "folder"
