"""Any open_clip model: by name and pretrained tag, by name and weight file, from a folder or from a repository.

Preprocessing follows the card (`preprocessing`), so results do not depend on open_clip's own transforms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from layoutmark.api import Pixels
from layoutmark.errors import LayoutmarkError
from layoutmark.features.clip import FEATURE, OpenClip
from layoutmark.features.images import Floats
from layoutmark.features.optional_packages import require_package
from layoutmark.features.preprocessing import check_normalisation, preprocessing_from
from layoutmark.features.scorer_folder import read_json, require_files
from layoutmark.features.scorer_spec import ScorerSpec
from layoutmark.provenance import digest_file
from layoutmark.store.downloads import check_digests, is_offline, not_downloaded_error, recorded_digests


def describe(spec: ScorerSpec) -> str:
    """Return the scorer's full name."""
    return spec.full_name(str(preprocessing_from(spec.settings)))


def load(spec: ScorerSpec, device: str) -> OpenClipModel:
    """Load the model."""
    return OpenClipModel(spec, device)


def digests(spec: ScorerSpec) -> dict[str, str]:
    """Return the sha256 of its files.

    For a pretrained tag it is the one recorded at the first download; without a record the weights are downloaded.
    """
    settings = spec.settings
    if not settings["pretrained"]:
        return spec.digests()
    if (name := _lock_name(settings)) not in recorded_digests():
        _download_tag(settings)
    return {name: recorded_digests()[name]}


class OpenClipModel(OpenClip):
    """A CLIP in float32 with the preprocessing of its card.

    Raises LayoutmarkError for an unknown name or tag, for weights that do not fit, and if the image size or the
    normalisation differs from the one the weights were trained with.
    """

    def __init__(self, spec: ScorerSpec, device: str = "cpu") -> None:
        self._torch = require_package(FEATURE, "torch", "torch")
        self._open_clip = require_package(FEATURE, "open_clip", "clip")
        settings, self._label = spec.settings, f"CLIP {spec.label}"
        model_name, arguments, config = self._source(spec)
        try:
            with self._torch.random.fork_rng(devices=[]):
                # Without require_pretrained, open_clip replaces missing weights by random ones.
                self._model = self._open_clip.create_model(
                    model_name, precision="fp32", device=device, require_pretrained=True, **arguments
                )
            self._tokenizer = self._open_clip.get_tokenizer(model_name)
        except LayoutmarkError:
            raise
        except Exception as error:  # open_clip's own, and those of each weight format it reads
            raise self._error(
                " ".join(str(error).split())[:200], "weights and tokenizer of one training",
                "Keep configuration and weights of one training together.",
            ) from error  # fmt: skip
        self._model.float().eval().requires_grad_(False)
        self._device, self._preprocessing = device, preprocessing_from(settings)
        self.image_size, self._width = self._preprocessing.size, int(config["embed_dim"])
        model_size = self._model.visual.image_size
        if model_size not in (self.image_size, (self.image_size,) * 2, [self.image_size] * 2):
            raise self._error(f"image_size {self.image_size}", f"{model_size}", "Correct the setting.")
        visual = self._model.visual
        check_normalisation(self._label, self._preprocessing.normalisation, visual.image_mean, visual.image_std)
        self.logit_scale = float(self._model.logit_scale.exp())

    def images(self, images: Sequence[Pixels]) -> Floats:
        """Return unit vectors (n, d) of RGB images."""
        return self._run(self._model.encode_image, self._torch.from_numpy(self._preprocessing(images)))

    def _source(self, spec: ScorerSpec) -> tuple[str, dict[str, Any], Mapping[str, Any]]:
        """Return open_clip's model name, further arguments of `create_model`, and the model's configuration."""
        settings, name = spec.settings, str(spec.settings["model"])
        if spec.scorer.folder or (spec.scorer.repository and not name):
            folder = spec.folder()
            require_files(folder, ["open_clip_config.json"])
            return f"local-dir:{folder}", {}, read_json(folder / "open_clip_config.json")["model_cfg"]
        config = self._open_clip.get_model_config(name)
        if config is None:
            raise self._error(
                f"model {name!r}", "a name that open_clip knows, or a folder", "See open_clip.list_models()."
            )
        if settings["pretrained"]:
            path, tag_config = _download_tag(settings)
            # A tag whose weights were trained with QuickGELU gives wrong vectors without it, and no error.
            arguments = {
                "pretrained": str(path),
                "force_quick_gelu": bool(tag_config.get("quick_gelu")),
                "force_preprocess_cfg": {k: tag_config[k] for k in ("mean", "std") if k in tag_config},
            }
            return name, arguments, config
        return name, {"pretrained": str(spec.file())}, config

    def _error(self, found: str, expected: str, do: str) -> LayoutmarkError:
        return LayoutmarkError(self._label, found=found, expected=expected, do=do)


def _lock_name(settings: Mapping[str, Any]) -> str:
    return f"open_clip:{settings['model']}:{settings['pretrained']}"


def _download_tag(settings: Mapping[str, Any]) -> tuple[Path, Mapping[str, Any]]:
    """Return the weight file of a model's pretrained tag, downloaded if necessary and checked, and the tag's config."""
    pretrained = require_package(FEATURE, "open_clip.pretrained", "clip")
    model, tag, name = str(settings["model"]), str(settings["pretrained"]), _lock_name(settings)
    tag_config = pretrained.get_pretrained_cfg(model, tag)
    if not tag_config:
        tags = pretrained.list_pretrained_tags_by_model(model)
        raise LayoutmarkError(
            f"CLIP {model!r}", found=f"tag {tag!r}", expected="one of " + (", ".join(sorted(tags)) or "(none)"),
            do="See open_clip.list_pretrained().",
        )  # fmt: skip
    hub, url = tag_config.get("hf_hub"), str(tag_config.get("url", ""))
    if is_offline() and not hub and url and not (Path("~/.cache/clip").expanduser() / Path(url).name).is_file():
        raise not_downloaded_error(name)
    try:
        path = Path(pretrained.download_pretrained(tag_config))
    except Exception as error:
        raise not_downloaded_error(name) from error
    check_digests({name: digest_file(path)})
    return path, tag_config
