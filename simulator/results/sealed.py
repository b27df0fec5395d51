"""Whether the files of a saved run are as they were saved: digests that stand in its manifest.

Each file is checked for what reading it needs, but values that cannot be together (a step that is not there, a state
that no request has) would only be found where they are used. So the manifest has a SHA-256 digest of each other file
and one of itself. A run that was saved by a version without digests has none to compare.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simulator.errors import InputError
from simulator.input_files import check_regular, parse_json, read_text

FILES, ITSELF = "sha256", "manifest_sha256"  # keys of the manifest
FORMAT = 1  # of folders of results; a larger number is one that this version cannot read
VERSION = "format"  # key of the manifest; one without is of format 0, which is read as 1 is


def published(name: str) -> str:
    """Return the schema of a part of a saved result, as JSON: ``summary``, ``manifest`` or ``tables``.

    A key or column that one format has keeps its type and meaning for as long as ``FORMAT`` stays; more may come.
    """
    return (Path(__file__).parent / "schemas" / f"{name}.json").read_text(encoding="utf-8")


def seal(manifest: dict[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    """Return the manifest with these digests of files, by name, and its own."""
    found = manifest | {VERSION: FORMAT, FILES: dict(sorted(digests.items()))}
    return found | {ITSELF: _of_values(found)}


def opened(manifest: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a manifest that is as it was saved; raises InputError, naming ``path``, for one that was changed."""
    version = manifest.get(VERSION, 0)
    if not isinstance(version, int) or not 0 <= version <= FORMAT:
        versions = manifest.get("versions")
        by = f", saved by servesim {versions.get('servesim')!r}" if isinstance(versions, dict) else ""
        raise InputError(
            f"{path}: a result of format {version!r}{by}; expected at most {FORMAT}, or a newer servesim"
        )
    own = manifest.get(ITSELF)
    if own is not None and own != _of_values({key: each for key, each in manifest.items() if key != ITSELF}):
        raise InputError(f"{path}: changed since it was saved; expected the manifest of a saved result")
    return manifest


def digests_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return the digests of the other files by name; none of a run that was saved without."""
    found = manifest.get(FILES)
    return found if isinstance(found, dict) else {}


def unsealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a manifest as it was before it was sealed."""
    return {key: each for key, each in manifest.items() if key not in (FILES, ITSELF, VERSION)}


def check(path: Path, digests: Mapping[str, str]) -> None:
    """Raise InputError for a file that is not the one that was saved."""
    if path.name in digests and digest(path) != digests[path.name]:
        raise InputError(
            f"{path}: changed since it was saved; expected the file that its manifest.json tells of"
        )


def verified(folder: Path) -> list[str]:
    """Return the names of the files of a saved run that are as they were saved, the manifest first.

    Raises InputError, naming the file, for one that was changed or is missing, and for a run without digests.
    """
    path = folder / "manifest.json"
    try:
        manifest = parse_json(read_text(path))
    except InputError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path}: not found; expected the folder of a saved run") from error
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error})") from error
    digests = digests_of(opened(manifest, path)) if isinstance(manifest, dict) else {}
    if not digests or ITSELF not in manifest:
        raise InputError(f"{path}: no digests found; expected a run that servesim saved with them")
    for name in digests:
        if Path(name).name != name:
            raise InputError(f"{path}: a digest of {name!r}; expected names of files beside it")
        check_regular(folder / name)
        try:
            check(folder / name, digests)
        except InputError:
            raise
        except OSError as error:
            raise InputError(
                f"{folder / name}: cannot be read ({error.strerror}); expected it there"
            ) from error
    return [path.name, *digests]


def digest(path: Path) -> str:
    """Return the digest of a file; raises OSError where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _of_values(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
