"""Models on the Hugging Face Hub: fetch one by ``user/name``, and publish one with a model card.

Where and how huggingface_hub keeps downloads is set by its own environment variables (``HF_HOME``, ``HF_HUB_OFFLINE``,
``HF_ENDPOINT``, ``HF_TOKEN``).
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from pathlib import Path

import yaml

from moceir.errors import OutputError, WeightsError, require_extra
from moceir.files import sha256, whole_file
from moceir.models.network import MoCEIR
from moceir.weights.folders import CARD_FILE, WEIGHTS_FILE, ModelFile, read_description, save

WANTED = ("*.json", WEIGHTS_FILE, CARD_FILE)
"""The files of a repository that are fetched; pickled weights are not among them."""


def fetch(name: str) -> Path:
    """Return the folder of a model on the Hub; download it unless that was done before.

    The weights are compared with their checksum each time, so that a damaged file is never used. (Caches without
    symbolic links, as on Windows without developer mode, do not keep the checksum; there only the size is checked.)

    Args:
        name: ``user/name`` of the repository.

    Raises:
        MissingExtraError: If huggingface_hub is not installed.
        WeightsError: If there is no such model, it cannot be downloaded, or the download is damaged.
    """
    require_extra("huggingface_hub", "hub")
    # A library of the extra: only here is it certain that it is installed.
    from huggingface_hub import snapshot_download  # noqa: PLC0415
    from huggingface_hub.errors import (  # noqa: PLC0415
        HTTPError,  # pyright: ignore[reportPrivateImportUsage] - of whichever library this version talks HTTP with
        LocalEntryNotFoundError,
    )

    try:
        try:
            folder = snapshot_download(name, allow_patterns=list(WANTED), local_files_only=True)
        except LocalEntryNotFoundError:
            folder = snapshot_download(name, allow_patterns=list(WANTED))
    except (OSError, ValueError, HTTPError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise WeightsError(
            f"there is no model '{name}' here, and it cannot be fetched from the Hub ({type(error).__name__}: "
            f"{reason}); check the name and the connection"
        ) from error
    _check_weights(Path(folder) / WEIGHTS_FILE, name)
    return Path(folder)


def save_pretrained(model: MoCEIR, folder: str | Path, description: ModelFile | None = None) -> None:
    """Write a model folder with a model card.

    Args:
        model: The network.
        folder: Created if needed. A card that is there already keeps its text.
        description: Licence, provenance and results, for ``config.json`` and the card.

    Raises:
        WeightsError: If the description is of another network.
        OutputError: If the folder cannot be written.
    """
    save(model, Path(folder), description or ModelFile(model=model.config))
    write_card(Path(folder))


def push_to_hub(
    model: MoCEIR, name: str, description: ModelFile | None = None, *, private: bool = False, title: str | None = None
) -> str:
    """Publish a network on the Hub.

    Args:
        model: The network.
        name: ``user/name`` of the repository; made if needed.
        description: As for `save_pretrained`.
        private: Whether a repository that is made is private.
        title: First line of the card; by default, the name.

    Returns:
        Address of the commit.

    Raises:
        MissingExtraError: If huggingface_hub is not installed.
        OutputError: If the Hub refuses or cannot be reached.
    """
    with tempfile.TemporaryDirectory() as folder:
        save(model, Path(folder), description or ModelFile(model=model.config))
        write_card(Path(folder), title or name)
        return push_folder(folder, name, private=private)


def push_folder(folder: str | Path, name: str, *, private: bool = False) -> str:
    """Publish a model folder on the Hub, with everything that `fetch` fetches; see `push_to_hub`."""
    require_extra("huggingface_hub", "hub")
    # A library of the extra: only here is it certain that it is installed.
    from huggingface_hub import HfApi  # noqa: PLC0415
    from huggingface_hub.errors import (  # noqa: PLC0415
        HTTPError,  # pyright: ignore[reportPrivateImportUsage] - of whichever library this version talks HTTP with
    )

    read_description(Path(folder))
    api = HfApi()
    try:
        api.create_repo(name, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=name, folder_path=folder, allow_patterns=list(WANTED), commit_message="Upload a MoCE-IR model"
        )
    except (OSError, ValueError, HTTPError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise OutputError(
            f"the Hub did not take {name} ({type(error).__name__}: {reason}); check the name, the connection, and that "
            "HF_TOKEN or 'hf auth login' lets you write there"
        ) from error
    return str(done.commit_url)


def write_card(folder: Path, title: str | None = None) -> None:
    """Write the model card of a folder: metadata for the Hub from ``config.json``, then text.

    A card that is there already keeps its text, and its metadata if it has some.
    """
    path = folder / CARD_FILE
    description = read_description(folder)
    text = (
        path.read_text(encoding="utf-8") if path.exists() else _card_text(title or folder.resolve().name, description)
    )
    if not text.startswith("---\n"):
        metadata = yaml.safe_dump(_metadata(description), sort_keys=False, allow_unicode=True)
        text = f"---\n{metadata}---\n\n{text}"
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def _metadata(description: ModelFile) -> dict[str, object]:
    """Return what the Hub sorts models by. A licence that is no SPDX identifier is ``other`` there."""
    known = re.fullmatch(r"[A-Za-z0-9.+-]+", description.license) and description.license != "unknown"
    return {
        "license": description.license.lower() if known else "other",
        "library_name": "moceir",
        "pipeline_tag": "image-to-image",
        "tags": ["image-restoration", "denoising", "deraining", "dehazing", "deblurring", "mixture-of-experts"],
    }


def _card_text(title: str, description: ModelFile) -> str:
    config = description.model
    blocks = ", ".join(map(str, config.depths))
    return f"""# {title}

A [MoCE-IR](https://arxiv.org/abs/2411.18466) network for image restoration, to be used with moceir:

```python
import moceir

restorer = moceir.Restorer.from_pretrained("{title}")
clean = restorer.restore(noisy)  # an (H, W, 3) uint8 array
```

- Shape: width {config.dim}, blocks {blocks}; {config.top_k} of {config.experts} experts work on an image in each routed
  block.
- License of the weights: {description.license}
- `config.json` has the recipe, the provenance and the results, as far as they are known.
"""


def _check_weights(path: Path, name: str) -> None:
    """Compare downloaded weights with the checksum of the Hub, which the cache keeps as the name of the file.

    Raises:
        WeightsError: If they differ. The file is removed, so that it can be fetched again.
    """
    if not path.exists():
        raise WeightsError(f"{name} on the Hub holds no {WEIGHTS_FILE}; give a model that moceir published")
    stored = path.resolve()
    expected = stored.name
    if re.fullmatch(r"[0-9a-f]{64}", expected):
        actual = sha256(stored)
    elif re.fullmatch(r"[0-9a-f]{40}", expected):  # a file that git keeps itself
        content = stored.read_bytes()
        actual = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    else:
        return
    if actual != expected:
        stored.unlink()
        path.unlink(missing_ok=True)
        raise WeightsError(
            f"{WEIGHTS_FILE} of {name} is damaged (checksum {actual[:12]}, expected {expected[:12]}) and was removed; "
            "run this again to fetch it"
        )
