"""Image folders: any size and mode; a corrupt file is named, or skipped on request."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_data import write_image, write_imagefolder

from hwnas.core.config import validate
from hwnas.core.errors import BadInput
from hwnas.training.datasets import RawData
from hwnas.training.datasets.imagefolder import Imagefolder, ImagefolderSettings


def load(folder: Path, resolution: int = 12, **settings: object) -> RawData:
    return Imagefolder(validate(ImagefolderSettings, {"dir": folder, **settings}, "data")).load(resolution)


@pytest.mark.parametrize("test", ["val", "test"])
def test_odd_sizes_and_modes_become_squares_of_rgb(tmp_path: Path, test: str) -> None:
    write_imagefolder(tmp_path, test)
    raw = load(tmp_path)
    assert raw.class_names == ("ant", "bee")
    assert raw.train.pixels.shape == raw.test.pixels.shape == (10, 3, 12, 12)
    assert raw.train.labels.tolist() == [0] * 5 + [1] * 5


def test_a_grey_image_has_equal_channels(tmp_path: Path) -> None:
    for part in ("train", "val"):
        for name in ("ant", "bee"):
            write_image(tmp_path / part / name / "grey.png", (16, 16), "L")
    pixels = load(tmp_path, 16).train.pixels
    assert np.array_equal(pixels[:, 0], pixels[:, 1]) and np.array_equal(pixels[:, 0], pixels[:, 2])


def test_the_middle_is_kept_upright(tmp_path: Path) -> None:
    """A wide image, its middle square white on top and red below."""
    canvas = np.zeros((10, 30, 3), np.uint8)
    canvas[:5, 10:20] = 255
    canvas[5:, 10:20, 0] = 255
    for part in ("train", "val"):
        for name in ("ant", "bee"):
            (tmp_path / part / name).mkdir(parents=True)
            Image.fromarray(canvas).save(tmp_path / part / name / "a.png")
    pixels = load(tmp_path, 10).train.pixels[0]
    assert (pixels[0] == 255).all()
    assert (pixels[1, :5] == 255).all() and (pixels[1, 5:] == 0).all()


def test_size_is_kept_apart_from_the_resolution(tmp_path: Path) -> None:
    write_imagefolder(tmp_path)
    assert load(tmp_path, 12, size=20).train.pixels.shape[2:] == (20, 20)


def _corrupt(folder: Path) -> Path:
    write_imagefolder(folder)
    path = folder / "train" / "bee" / "torn.jpg"
    write_image(path, (64, 64))
    path.write_bytes(path.read_bytes()[:700])
    return path


def test_a_corrupt_image_is_named(tmp_path: Path) -> None:
    path = _corrupt(tmp_path)
    with pytest.raises(BadInput) as caught:
        load(tmp_path)
    assert str(path) in caught.value.what and "skip_corrupt" in caught.value.mend


def test_a_corrupt_image_is_skipped_on_request_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _corrupt(tmp_path)
    assert len(load(tmp_path, skip_corrupt=True).train) == 10
    assert str(path) in capsys.readouterr().err


@pytest.mark.parametrize(
    "content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + bytes(50), b"\xff\xd8\xff\xe0" + bytes(20)]
)
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    write_imagefolder(tmp_path)
    (tmp_path / "val" / "ant" / "fake.png").write_bytes(content)
    with pytest.raises(BadInput, match=r"fake\.png"):
        load(tmp_path)


def test_nothing_but_corrupt_images_is_refused(tmp_path: Path) -> None:
    for part in ("train", "val"):
        for name in ("ant", "bee"):
            (tmp_path / part / name).mkdir(parents=True)
            (tmp_path / part / name / "a.jpg").write_bytes(b"no image")
    with pytest.raises(BadInput):
        load(tmp_path, skip_corrupt=True)


def test_missing_parts_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="train"):
        load(tmp_path)
    (tmp_path / "train" / "ant").mkdir(parents=True)
    with pytest.raises(BadInput, match="val"):
        load(tmp_path)
    (tmp_path / "val" / "ant").mkdir(parents=True)
    with pytest.raises(BadInput, match="two are needed"):
        load(tmp_path)
    (tmp_path / "train" / "bee").mkdir()
    with pytest.raises(BadInput, match="no images"):
        load(tmp_path)


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    write_imagefolder(tmp_path)
    (tmp_path / "train" / "ant" / "notes.txt").write_text("not an image")
    (tmp_path / "train" / "README").write_text("not a class")
    assert len(load(tmp_path).train) == 10


def test_skipped_files_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _corrupt(tmp_path)
    (path.parent / "empty.png").write_bytes(b"")
    load(tmp_path, skip_corrupt=True)
    assert f"{tmp_path / 'train'}: 2 of 12 files were skipped" in capsys.readouterr().err


def test_grey_of_sixteen_bits_is_not_clipped(tmp_path: Path) -> None:
    write_imagefolder(tmp_path)
    ramp = np.linspace(0, 65535, 144).astype(np.uint16).reshape(12, 12)
    Image.fromarray(ramp).save(tmp_path / "train" / "ant" / "a16.png")
    pixels = load(tmp_path).train.pixels[0]
    assert np.array_equal(pixels[0], ramp >> 8)


@pytest.mark.parametrize("name", ["a\nb", "tab\there", "bad\udcff", "bell\x07"])
def test_a_name_that_cannot_be_written_down_is_refused(tmp_path: Path, name: str) -> None:
    write_imagefolder(tmp_path)
    (tmp_path / "train" / name).mkdir()
    with pytest.raises(BadInput, match="class folder called"):
        load(tmp_path)


def test_odd_names_are_classes_and_hidden_folders_are_not(tmp_path: Path) -> None:
    odd = ("<b>&amp;", "a, b", "naïve 日本", '"quoted"', "{braces}")
    for part in ("train", "val"):
        for number, name in enumerate(odd):
            write_image(tmp_path / part / name / "a.png", (16, 16), seed=number)
        (tmp_path / part / ".ipynb_checkpoints").mkdir()
    assert load(tmp_path).class_names == tuple(sorted(odd))


def test_classes_that_do_not_match_are_named(tmp_path: Path) -> None:
    write_imagefolder(tmp_path)
    (tmp_path / "val" / "wasp").mkdir()
    with pytest.raises(BadInput, match="wasp"):
        load(tmp_path)
    (tmp_path / "val" / "wasp").rename(tmp_path / "train" / "wasp")
    with pytest.raises(BadInput, match="wasp holds no images"):
        load(tmp_path)
