"""From a checkpoint to a pipeline: loaded whole, from the place that was named, or not at all."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.arm import device_meant
from harness.errors import ArmError

BUNDLED = "bundled"
"""Name of the checkpoint that lies in this package."""

CHECKPOINT = Path(__file__).parent.parent / "checkpoints" / "chronos-bolt-synthetic"
DTYPES = ("float32", "bfloat16")
PATIENCE_S = 2.5
"""How long the hub has to answer; its own client would try for 23 seconds."""

Family = Literal["Chronos-T5", "Chronos-Bolt", "Chronos-2"]
_FAMILIES: dict[str, Family] = {
    "ChronosPipeline": "Chronos-T5",
    "ChronosBoltPipeline": "Chronos-Bolt",
    "Chronos2Pipeline": "Chronos-2",
}
_COMMIT = re.compile("[0-9a-f]{40}")
_FILES = ("*.json", "*.safetensors", "*.bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Which checkpoint, and how it is to be loaded.

    Attributes
    ----------
    model
        ``bundled``, a folder, or a hub id.
    revision
        Commit, tag or branch of a hub id.
    dtype, device
        Number format and place of the weights; the device ``auto`` is a GPU when there is one.
    local_only
        Never ask the hub.
    """

    model: str = BUNDLED
    revision: str | None = None
    dtype: str = "float32"
    device: str = "cpu"
    local_only: bool = False

    @property
    def folder(self) -> Path | None:
        """Where the weights lie; None for a hub id."""
        if self.model == BUNDLED:
            return CHECKPOINT
        path = Path(self.model).expanduser()
        return path if path.is_dir() else None

    def files(self) -> Sequence[Path]:
        """Files of a local checkpoint; none for a hub id."""
        if self.folder is None:
            return ()
        return sorted(file for pattern in _FILES for file in self.folder.glob(pattern))

    @property
    def family(self) -> Family | None:
        """Which kind of Chronos a folder holds; None for a hub id or an unreadable config."""
        if self.folder is None:
            return None
        try:
            config = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return _FAMILIES.get(config.get("chronos_pipeline_class", "ChronosPipeline"))


def load_pipeline(source: Source) -> Any:
    """Load chronos-forecasting's pipeline of a checkpoint, all its weights from there.

    Raises
    ------
    ArmError
        One line: what was looked for, where, and how to get it.
    """
    folder = source.folder or _fetched(source)
    import torch
    from chronos import BaseChronosPipeline
    from safetensors import SafetensorError

    try:
        pipeline = BaseChronosPipeline.from_pretrained(
            str(folder),
            device_map=torch_device(source.device),
            dtype=getattr(torch, source.dtype),
            local_files_only=True,
            trust_remote_code=False,
        )
        missing = _not_stored(pipeline.inner_model, folder)
    except (OSError, ValueError, KeyError, TypeError, AssertionError, RuntimeError) as problem:
        raise ArmError(_unusable(source, folder, problem)) from problem
    except SafetensorError as problem:
        raise ArmError(_unusable(source, folder, problem)) from problem
    if missing:
        what = f"it lacks {len(missing)} tensors, such as {missing[0]}"
        raise ArmError(_unusable(source, folder, what))
    return pipeline


def fetch(source: Source) -> None:
    """Have a checkpoint on this machine, whole, without loading it.

    Raises
    ------
    ArmError
        One line: what was looked for, where, and how to get it; or what its folder lacks.
    """
    from safetensors import SafetensorError, safe_open

    folder = source.folder or _fetched(source)
    if not (folder / "config.json").is_file():
        raise ArmError(_unusable(source, folder, "it has no config.json"))
    weights = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin")])
    if not weights:
        raise ArmError(_unusable(source, folder, "it has no weights, *.safetensors or *.bin"))
    for file in weights:
        try:
            if file.suffix == ".safetensors":  # its header says how long it is
                with safe_open(str(file), framework="np"):
                    pass
        except (OSError, SafetensorError) as problem:
            raise ArmError(_unusable(source, folder, f"{file.name}: {problem}")) from problem


def commit_of(source: Source) -> str | None:
    """The commit that a hub id means; None for a folder.

    A revision that is a whole commit is taken as it is. The hub is asked first, where it may be;
    where it does not answer, the local cache says what was downloaded last.

    Raises
    ------
    ArmError
        When neither tells.
    """
    if source.folder is not None:
        return None
    if source.revision is not None and _COMMIT.fullmatch(source.revision):
        return source.revision
    import huggingface_hub
    from huggingface_hub import constants

    why = "it is not asked"
    if not source.local_only and not constants.HF_HUB_OFFLINE:
        why = "it does not answer"
        if _answers(f"{constants.ENDPOINT}/api/models/{source.model}"):
            try:
                asked = huggingface_hub.HfApi().model_info(
                    source.model, revision=source.revision, timeout=PATIENCE_S
                )
                if asked.sha:
                    return str(asked.sha)
            except (OSError, ValueError) as problem:
                why = str(problem)
    try:
        found = huggingface_hub.try_to_load_from_cache(
            source.model, "config.json", revision=source.revision
        )
    except ValueError as problem:
        raise ArmError(_missing(source, str(problem), constants.HF_HUB_CACHE)) from problem
    if not isinstance(found, str):
        raise ArmError(_missing(source, why, constants.HF_HUB_CACHE))
    return Path(found).parent.name


def torch_device(name: str) -> str:
    """As `device_meant`, with torch imported only now."""
    import torch

    return device_meant(name, torch)


def family_of(pipeline: Any) -> Family:
    """Which kind of Chronos a pipeline is."""
    return _FAMILIES[type(pipeline).__name__]


def _unusable(source: Source, folder: Path, problem: object) -> str:
    reason = " ".join(str(problem).split())[:200] or type(problem).__name__
    return f"model '{source.model}': {folder} is no Chronos checkpoint: {reason}"


def _not_stored(model: Any, folder: Path) -> list[str]:
    """Tensors the checkpoint does not hold; the library would make them up and go on.

    A tensor that shares its memory with a stored one is stored.
    """
    import torch
    from safetensors import safe_open

    stored: set[str] = set()
    files = sorted(folder.glob("*.safetensors"))
    for file in files:
        with safe_open(str(file), framework="pt") as opened:
            stored.update(opened.keys())
    for file in [] if files else sorted(folder.glob("*.bin")):
        stored.update(torch.load(file, map_location="meta", weights_only=True, mmap=True))
    state = model.state_dict()
    there = {value.data_ptr() for name, value in state.items() if name in stored}
    return [
        name for name, value in state.items() if value.numel() and value.data_ptr() not in there
    ]


def _fetched(source: Source) -> Path:
    """Folder of a hub id in the local cache, downloaded first where that can be done."""
    import huggingface_hub
    from huggingface_hub import constants

    offline = source.local_only or constants.HF_HUB_OFFLINE
    silent = not offline and not _answers(f"{constants.ENDPOINT}/api/models/{source.model}")
    try:
        return Path(
            huggingface_hub.snapshot_download(
                source.model,
                revision=source.revision,
                allow_patterns=list(_FILES),
                local_files_only=offline or silent,
            )
        )
    except (OSError, ValueError) as problem:
        why = "it is not asked" if offline else "it does not answer" if silent else str(problem)
        raise ArmError(_missing(source, why, constants.HF_HUB_CACHE)) from problem


def _missing(source: Source, why: str, cache: str) -> str:
    pin = f" --revision {source.revision}" if source.revision else ""
    reason = " ".join(why.split())[:200]
    return (
        f"model '{source.model}': no folder of that name, not whole in the local cache {cache}, "
        f"and not had from the hub ({reason}); get it where there is a network with "
        f'`hf download {source.model}{pin}`, or use "{BUNDLED}"'
    )


def _answers(address: str) -> bool:
    """Whether anything answers there in time; looking up a name has no time limit of its own."""
    answered = threading.Event()

    def ask() -> None:
        from urllib.error import HTTPError
        from urllib.request import Request, urlopen

        try:
            with urlopen(Request(address, method="HEAD"), timeout=PATIENCE_S):  # noqa: S310
                answered.set()
        except HTTPError:
            answered.set()
        except (OSError, ValueError):
            return

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE_S)
    return answered.is_set()
