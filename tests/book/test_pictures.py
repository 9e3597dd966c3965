"""The stored pictures are those that the library draws."""

import pictures
import pytest
import torch
from matplotlib import image


@pytest.mark.parametrize("name", ["family", "logo"])
def test_a_stored_picture_is_what_the_library_draws_now(name):
    stored = torch.from_numpy(image.imread(getattr(pictures, name.upper())))
    # A file holds 256 levels; another processor may round a pixel to the next one.
    torch.testing.assert_close(stored, getattr(pictures, name)(), atol=2 / 255, rtol=0)


def test_every_part_has_a_colour():
    assert len(pictures._PARTS) == len(pictures.figurines.PARTS)
    assert len(pictures._PARTS.unique(dim=0)) == len(pictures._PARTS)
