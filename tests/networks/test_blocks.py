import pytest
import torch

from mtl_lib.networks import Decoder, Encoder, ImageHead, conv_block

SIZES = [16, 28, 32, 64]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
def test_encoding_and_drawing_give_an_image_of_the_same_shape_in_range(size, channels):
    torch.manual_seed(0)
    images = torch.rand(3, channels, size, size)
    code = Encoder(channels, 5, size=size)(images)
    drawn = ImageHead(16, channels)(Decoder(5, size=size)(code))
    assert code.shape == (3, 5)
    assert drawn.shape == images.shape
    assert drawn.min() > 0
    assert drawn.max() < 1


@pytest.mark.parametrize("width", [8, 24])
def test_width_is_that_of_the_features(width):
    assert Decoder(4, size=16, width=width)(torch.zeros(2, 4)).shape == (2, width, 8, 8)


def test_an_image_does_not_depend_on_its_neighbours_in_the_batch():
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        Encoder(1, 8, size=28), Decoder(8, size=28), ImageHead(16, 1)
    ).double()
    images = torch.rand(6, 1, 28, 28, dtype=torch.float64)
    alone = torch.cat([network(image[None]) for image in images])
    # Convolutions may add in another order for another batch: rounding of double precision.
    torch.testing.assert_close(network(images), alone, atol=1e-12, rtol=0)


def test_the_head_lays_out_the_pixels_of_each_position_as_a_square():
    head = ImageHead(1, 1)
    with torch.no_grad():
        head[0].weight.zero_()
        head[0].bias.copy_(torch.arange(4.0))
    image = head(torch.zeros(1, 1, 2, 2))[0, 0].logit()
    square = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    torch.testing.assert_close(image, square.repeat(2, 2), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Encoder(1, 4, size=30), "size is 30.*multiple of 4"),
        (lambda: Decoder(4, size=0), "size is 0"),
        (lambda: Decoder(4, size=16, width=12), "width is 12.*multiple of 8"),
        (lambda: conv_block(3, 9), "out_channels is 9.*multiple of 8"),
    ],
)
def test_a_size_that_does_not_fit_is_refused_with_what_would(make, message):
    with pytest.raises(ValueError, match=message):
        make()
