"""The files that docs/experts.md names: a detector, COCO's panoptic format, and tiny checkpoints in the hub's cache."""

from __future__ import annotations

from pathlib import Path

from experts import onnx_file, tiny_vision
from experts.test_precomputed import coco
from pictures import jpeg

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def prepare(folder: Path, hub: Path) -> None:
    (folder / "dogs.jpg").write_bytes(jpeg(1))
    onnx_file.detector(folder / "FastestDet.onnx", "grid", told=False)
    (folder / "coco.names").write_text("\n".join(onnx_file.NAMES))
    coco(folder)
    for name, build in (
        ("google--owlv2-base-patch16-ensemble", tiny_vision.owlv2),
        ("facebook--mask2former-swin-base-coco-panoptic", tiny_vision.mask2former),
    ):
        home = hub / f"models--{name}"
        (home / "refs").mkdir(parents=True)
        (home / "refs" / "main").write_text(COMMIT)
        (home / "snapshots" / COMMIT).mkdir(parents=True)
        build(home / "snapshots" / COMMIT)
