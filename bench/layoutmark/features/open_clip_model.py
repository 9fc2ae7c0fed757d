"""Any model of open_clip: by name and pretrained tag, a file of weights for a name, a folder, or a public repository.

Preprocessing is the card's (`fitting`), so the same picture gives the same numbers whatever open_clip does with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.features.clip import FEATURE, OpenClip
from layoutmark.features.images import Floats
from layoutmark.features.optional_packages import needed
from layoutmark.features.preprocessing import fitting_of, same_normalisation
from layoutmark.features.scorer_folder import read_json, require
from layoutmark.features.scorer_spec import Spec
from layoutmark.provenance import digest_file
from layoutmark.store.downloads import check_locks, not_here, offline, recorded


def describe(spec: Spec) -> str:
    """Its full name."""
    return spec.full_name(str(fitting_of(spec.settings)))


def load(spec: Spec, device: str) -> NamedClip:
    """The model."""
    return NamedClip(spec, device)


def digests(spec: Spec) -> dict[str, str]:
    """sha256 of its files; of a tag's, the one recorded at the first download, without which it is fetched."""
    settings = spec.settings
    if not settings["pretrained"]:
        return spec.digests()
    if (name := _lock_name(settings)) not in recorded():
        _tagged(settings)
    return {name: recorded()[name]}


class NamedClip(OpenClip):
    """A CLIP in float32 with the preprocessing of its card.

    Raises LayoutmarkError for an unknown name or tag, weights that do not fit, or another picture size or normalisation
    than they were trained with.
    """

    def __init__(self, spec: Spec, device: str = "cpu") -> None:
        self._torch = needed(FEATURE, "torch", "torch")
        self._open_clip = needed(FEATURE, "open_clip", "clip")
        settings, self._what = spec.settings, f"CLIP {spec.label}"
        place, more, config = self._source(spec)
        try:
            with self._torch.random.fork_rng(devices=[]):
                # Without weights open_clip goes on with random ones unless told to refuse.
                self._model = self._open_clip.create_model(
                    place, precision="fp32", device=device, require_pretrained=True, **more
                )
            self._tokenizer = self._open_clip.get_tokenizer(place)
        except LayoutmarkError:
            raise
        except Exception as error:  # open_clip's own, and those of each form of weights it reads
            raise self._refused(
                " ".join(str(error).split())[:200], "weights and tokenizer of one training",
                "Keep configuration and weights of one training together.",
            ) from error  # fmt: skip
        self._model.float().eval().requires_grad_(False)
        self._device, self._fitting = device, fitting_of(settings)
        self.image_size, self._width = self._fitting.size, int(config["embed_dim"])
        taken = self._model.visual.image_size
        if taken not in (self.image_size, (self.image_size,) * 2, [self.image_size] * 2):
            raise self._refused(f"image_size {self.image_size}", f"{taken}", "Correct the setting.")
        visual = self._model.visual
        same_normalisation(self._what, self._fitting.normalisation, visual.image_mean, visual.image_std)
        self.logit_scale = float(self._model.logit_scale.exp())

    def images(self, images: Sequence[Pixels]) -> Floats:
        """Unit vectors (n, d) of RGB pictures."""
        return self._run(self._model.encode_image, self._torch.from_numpy(self._fitting(images)))

    def _source(self, spec: Spec) -> tuple[str, dict[str, Any], Mapping[str, Any]]:
        """What open_clip is asked for, with which further arguments, and the configuration that is meant."""
        settings, name = spec.settings, str(spec.settings["model"])
        if spec.scorer.folder or (spec.scorer.repository and not name):
            folder = spec.folder()
            require(folder, ["open_clip_config.json"])
            return f"local-dir:{folder}", {}, read_json(folder / "open_clip_config.json")["model_cfg"]
        config = self._open_clip.get_model_config(name)
        if config is None:
            raise self._refused(
                f"model {name!r}", "a name that open_clip knows, or a folder", "See open_clip.list_models()."
            )
        if settings["pretrained"]:
            path, tag = _tagged(settings)
            # A tag whose weights were trained with QuickGELU gives wrong vectors without it, and no error.
            more = {"pretrained": str(path), "force_quick_gelu": bool(tag.get("quick_gelu")),
                    "force_preprocess_cfg": {k: tag[k] for k in ("mean", "std") if k in tag}}  # fmt: skip
            return name, more, config
        return name, {"pretrained": str(spec.file())}, config

    def _refused(self, found: str, expected: str, do: str) -> LayoutmarkError:
        return LayoutmarkError(self._what, found=found, expected=expected, do=do)


def _lock_name(settings: Mapping[str, Any]) -> str:
    return f"open_clip:{settings['model']}:{settings['pretrained']}"


def _tagged(settings: Mapping[str, Any]) -> tuple[Path, Mapping[str, Any]]:
    """The weight file of a model's pretrained tag, fetched if need be and checked, and what open_clip knows of it."""
    known = needed(FEATURE, "open_clip.pretrained", "clip")
    model, tag, name = str(settings["model"]), str(settings["pretrained"]), _lock_name(settings)
    about = known.get_pretrained_cfg(model, tag)
    if not about:
        tags = known.list_pretrained_tags_by_model(model)
        raise LayoutmarkError(
            f"CLIP {model!r}", found=f"tag {tag!r}", expected="one of " + (", ".join(sorted(tags)) or "(none)"),
            do="See open_clip.list_pretrained().",
        )  # fmt: skip
    hub, url = about.get("hf_hub"), str(about.get("url", ""))
    if offline() and not hub and url and not (Path("~/.cache/clip").expanduser() / Path(url).name).is_file():
        raise not_here(name)
    try:
        path = Path(known.download_pretrained(about))
    except Exception as error:
        raise not_here(name) from error
    check_locks({name: digest_file(path)})
    return path, about
