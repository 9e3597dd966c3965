import matplotlib as mpl
import numpy as np
import pytest
import torch

from mtl_lib import plotting

mpl.use("Agg")


@pytest.fixture(autouse=True)
def close_figures():
    with mpl.rc_context():
        plotting.use_style()
        yield
    mpl.pyplot.close("all")


def luminance(color):
    """Relative luminance of WCAG 2.2."""
    channels = np.array(mpl.colors.to_rgb(color))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(one, other):
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("page", ["#fffdf9", "#13171d"])
@pytest.mark.parametrize("color", [*plotting.COLORS, plotting.INK])
def test_colours_are_readable_on_light_and_on_dark_pages(page, color):
    assert contrast(color, page) >= 3  # WCAG 2.2, success criterion 1.4.11, non-text contrast


def test_figures_are_transparent():
    figure = plotting.image_grid({"row": torch.rand(2, 1, 4, 4)})
    assert figure.get_facecolor()[3] == 0


def test_a_mosaic_holds_every_image_in_its_place_and_is_transparent_between():
    images = torch.rand(6, 3, 5, 4)
    picture = plotting.mosaic(images, columns=3, gap=1)
    assert picture.shape == (2 * 6 + 1, 3 * 5 + 1, 4)
    torch.testing.assert_close(picture[7:12, 6:10, :3], images[4].permute(1, 2, 0))
    assert (picture[0, :, 3] == 0).all()
    assert (picture[7:12, 6:10, 3] == 1).all()


def test_grey_images_are_shown_in_grey_and_out_of_range_values_are_clamped():
    picture = plotting.mosaic(torch.tensor([[[[-1.0, 2.0]]]]), columns=1, gap=0)
    assert picture[0, :, :3].tolist() == [[0.0] * 3, [1.0] * 3]


def test_a_grid_has_titles_on_rows_and_columns():
    rows = {"first": torch.rand(3, 1, 4, 4), "second": torch.rand(3, 3, 4, 4)}
    figure = plotting.image_grid(rows, ["a", "b", "c"], title="all")
    assert [axes.get_ylabel() for axes in figure.axes] == ["first", "second"]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["a", "b", "c"]
    assert figure.get_suptitle() == "all"


def test_a_curve_is_the_mean_over_seeds_in_a_band_of_all():
    axes = plotting.learning_curves({"a": [[1.0, 2.0], [3.0, 6.0]]}, [10, 20], log=False)
    assert axes.lines[0].get_ydata().tolist() == [2.0, 4.0]
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == 1
    assert band[:, 1].max() == 6


def test_dots_show_every_seed_and_a_bar_at_the_mean():
    sides = {"one": {"x": [1.0, 3.0]}, "two": {"x": [5.0, 5.0]}}
    axes = plotting.paired_dots(sides, xlabel="error")
    assert axes.lines[0].get_xdata().tolist() == [1.0, 3.0]
    assert axes.lines[1].get_xdata().tolist() == [2.0]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["one", "two"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plotting.mosaic(torch.zeros(2, 2, 4, 4), 1), r"wanted \(n, 1 or 3"),
        (lambda: plotting.mosaic(torch.zeros(0, 1, 4, 4), 1), "n > 0"),
        (lambda: plotting.image_grid({}), "rows have {}"),
        (
            lambda: plotting.image_grid(
                {"a": torch.zeros(2, 1, 4, 4), "b": torch.zeros(3, 1, 4, 4)}
            ),
            "same number",
        ),
        (lambda: plotting.image_grid({"a": torch.zeros(2, 1, 4, 4)}, ["x"]), "1 column titles"),
        (lambda: plotting.learning_curves({"a": [1.0, 2.0]}), r"wanted \(seeds, points\)"),
    ],
)
def test_wrong_shapes_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
