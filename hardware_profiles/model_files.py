"""Finding a model: shipped (``models/*.toml``), or the ``config.json`` of a checkpoint by path."""

from functools import lru_cache
from pathlib import Path

from hardware_profiles.files import (
    full_name,
    read_text,
    read_toml,
    shipped_names,
    shipped_path,
    toml_of,
    unknown,
)
from hardware_profiles.huggingface import model_of, read_config
from hardware_profiles.model import Model
from simulator.errors import InputError


def list_models() -> list[str]:
    """Return the names of the shipped models, sorted."""
    return shipped_names("models")


def load_model(name_or_path: str, base_dir: Path | None = None) -> Model:
    """Return a shipped model, or the one in a Hugging Face ``config.json`` (or its folder).

    An ``hf_quant_config.json`` beside that file is read with it.

    A shipped one goes by its name, the beginning of it where no other begins so (``llama-3.1-8b``), or its id on the
    hub (``meta-llama/Llama-3.1-8B-Instruct``). A relative path is taken from ``base_dir``, or the working folder.
    Raises InputError for an unknown name (with the nearest one), an unreadable or malformed file (with
    the key), and an architecture that the cost model does not describe (with the field that shows it).
    """
    path = (base_dir or Path()) / name_or_path
    exact = name_or_path in list_models()  # before a folder of that name
    name = name_or_path if exact else None if path.exists() else _shipped(name_or_path)
    if name is not None:
        path = shipped_path("models", name)
        return _model_of(read_text(path), name, path)
    folder = path.is_dir()
    if folder:
        path = path / "config.json"
    if folder or name_or_path.endswith(".json") or path.is_file():
        name = path.parent.name if path.name == "config.json" else path.stem
        return model_of(read_config(path), name or path.stem, str(path), str(path), _beside(path))
    raise unknown("model", name_or_path, list_models(), "the path of a Hugging Face config.json")


@lru_cache
def _model_of(text: str, name: str, path: Path) -> Model:
    """Return the model of a shipped file: a run asks for it three times."""
    table = toml_of(text, path)
    config = table.get("config")
    if not isinstance(config, dict):
        raise InputError(f"{path}: table [config] is missing")
    return model_of(config, name, f"{table.get('source', path)}", str(path))


def _beside(path: Path) -> Path | None:
    """Return the ``hf_quant_config.json`` of a checkpoint's ``config.json``, if there is one."""
    found = path.with_name(path.name.removesuffix("config.json") + "hf_quant_config.json")
    return found if path.name.endswith("config.json") and found.is_file() else None


def _shipped(name: str) -> str | None:
    """Return the shipped model that is meant by a beginning of its name or an id on the hub; None: there is none.

    A model that was tuned to follow instructions has the layers of the one that it was made from.
    """
    found = full_name("model", name, list_models())
    if found is not None or "/" not in name:
        return found
    wanted = name.lower().removesuffix("-instruct")
    for shipped in list_models():
        source = str(read_toml(shipped_path("models", shipped)).get("source", ""))
        hub_id = source.partition(",")[0].removeprefix("huggingface.co/").lower()
        if hub_id.removesuffix("-instruct") == wanted:
            return shipped
    return None
