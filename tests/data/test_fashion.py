import gzip
import shutil

import pytest
import torch
from scipy import ndimage

from mtl_lib.data import fashion


@pytest.fixture
def copied_files(tmp_path, monkeypatch):
    """A copy of the data files that a test may damage."""
    folder = tmp_path / "fashion_mnist"
    shutil.copytree(fashion._FOLDER, folder)
    monkeypatch.setattr(fashion, "_FOLDER", folder)
    fashion._all_images.cache_clear()
    yield folder
    fashion._all_images.cache_clear()


def test_splits_have_their_sizes_and_ranges():
    for split, size in fashion.SPLITS.items():
        data = fashion.load(split)
        assert data["images"].shape == (size, 1, 28, 28)
        assert data["images"].min() == 0
        assert data["images"].max() == 1
        assert data["labels"].shape == (size,)
        assert data["labels"].dtype == torch.int64


def test_splits_are_disjoint_and_cover_every_image():
    seen = [fashion.load(split)["images"].flatten(1) for split in fashion.SPLITS]
    together = torch.cat(seen)
    everything = fashion._all_images()[0].flatten(1)
    assert torch.equal(
        torch.unique(together, dim=0, return_counts=True)[1],
        torch.unique(everything, dim=0, return_counts=True)[1],
    )
    assert len(together) == len(everything) == 10_000


def test_every_class_is_in_every_split_in_like_shares():
    for split, size in fashion.SPLITS.items():
        shares = torch.bincount(fashion.load(split)["labels"], minlength=10) / size
        assert ((shares - 0.1).abs() < 0.03).all()


def test_labels_belong_to_their_images():
    """Trousers are narrow and sneakers are low: a permutation of labels alone would mix them."""
    data = fashion.load("train")
    extent = {
        name: ndimage.find_objects(
            (data["images"][data["labels"] == fashion.CLASSES.index(name)].mean(0)[0] > 0.3)
            .numpy()
            .astype(int)
        )[0]
        for name in ("trouser", "sneaker")
    }
    height = {name: rows.stop - rows.start for name, (rows, _) in extent.items()}
    width = {name: columns.stop - columns.start for name, (_, columns) in extent.items()}
    assert height["trouser"] > 2 * height["sneaker"]
    assert width["sneaker"] > 1.5 * width["trouser"]


def test_loading_twice_gives_equal_images_that_do_not_share_memory():
    first, second = fashion.load("test"), fashion.load("test")
    assert torch.equal(first["images"], second["images"])
    first["images"].zero_()
    assert torch.equal(fashion.load("test")["images"], second["images"])


def test_silhouette_is_binary_covers_the_garment_and_closes_gaps_of_one_pixel():
    images = fashion.load("validation")["images"][:200]
    mask = fashion.silhouette(images)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert (mask[images > 0.05] == 1).all()
    garment = torch.ones(1, 1, 9, 9)
    garment[..., 4, 4] = 0
    assert (fashion.silhouette(garment) == 1).all()
    garment[..., 2:7, 2:7] = 0
    assert fashion.silhouette(garment)[..., 4, 4] == 0


def test_silhouette_of_an_image_does_not_depend_on_its_neighbours_in_the_batch():
    images = fashion.load("validation")["images"][:20]
    alone = torch.cat([fashion.silhouette(image[None]) for image in images])
    assert torch.equal(fashion.silhouette(images), alone)


def test_edges_equal_scipys_sobel_gradient():
    images = fashion.load("validation")["images"][:20]
    for image, drawn in zip(images[:, 0].numpy(), fashion.edges(images)[:, 0], strict=True):
        rows, columns = (ndimage.sobel(image, axis, mode="nearest") / 4 for axis in (0, 1))
        oracle = torch.from_numpy((rows**2 + columns**2) ** 0.5).clamp(max=1)
        torch.testing.assert_close(drawn, oracle, atol=1e-6, rtol=0)  # float32 rounding


def test_modalities_are_aligned_pictures_of_the_same_shape():
    images = fashion.load("validation")["images"][:10]
    pictures = fashion.modalities(images)
    assert list(pictures) == ["garment", "silhouette", "edges"]
    assert {picture.shape for picture in pictures.values()} == {images.shape}


@pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"])
@pytest.mark.parametrize("damage", ["truncated", "one byte altered", "missing", "not gzip"])
def test_a_damaged_file_is_detected_and_the_error_says_what_to_do(copied_files, name, damage):
    path = copied_files / name
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "one byte altered":
        raw = bytearray(gzip.decompress(content))
        raw[-1] ^= 1
        path.write_bytes(gzip.compress(bytes(raw)))
    elif damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"<html>not found</html>")
    with pytest.raises(fashion.CorruptDataError, match=rf"{name}.*(reinstall|check the file out)"):
        fashion.load("train")


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match=r"'valid'.*train, validation, test"):
        fashion.load("valid")


@pytest.mark.parametrize("shape", [(28, 28), (5, 28, 28), (5, 3, 28, 28)])
@pytest.mark.parametrize("picture", [fashion.silhouette, fashion.edges])
def test_images_of_a_wrong_shape_are_refused(picture, shape):
    with pytest.raises(ValueError, match=r"wanted \(n, 1, height, width\)"):
        picture(torch.zeros(shape))


def test_the_full_set_missing_from_its_folder_says_how_to_get_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="download=True"):
        fashion.load_full(tmp_path)


def test_the_full_set_is_read_through_torchvision(tmp_path):
    """The packaged test files, laid out as torchvision keeps them, are the full set's test part."""
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in fashion._FOLDER.glob("*.gz"):
        (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
        for other in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
            (raw / other).touch()
    data = fashion.load_full(tmp_path, train=False)
    assert torch.equal(data["images"], fashion._all_images()[0])
    assert torch.equal(data["labels"], fashion._all_images()[1])
