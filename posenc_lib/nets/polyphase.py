"""Adaptive polyphase sampling: a stride of 2 that follows the picture, so that no shift changes what is kept.

A stride of 2 keeps one of a map's polyphase components, that of the even rows and columns.  A shift by one pixel swaps
the components, and the stride then keeps the other one:

    1234 -> even 13, odd 24        shifted circularly by one:  4123 -> even 42, odd 13

Adaptive sampling keeps the component with the largest l2 norm, whichever place it is in: here 24, and 42.  With
circular padding, such a network's maps move with the picture, and their averages do not change.

Source: Chaman and Dokmanic, "Truly Shift-Invariant Convolutional Neural Networks", CVPR 2021 (arXiv 2011.14214); the
released code of its residual blocks for where they sample, and that both branches keep the same component.
"""
import torch
from jaxtyping import Float, Int
from timm.models.resnet import BasicBlock
from torch import Tensor, nn

from posenc_lib.base.modules import modules, named_modules
from posenc_lib.base.shapes import Features

STRIDED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


def components(f: Float[Tensor, "batch channel row col"]) -> Float[Tensor, "batch 4 channel half_row half_col"]:
    """The four polyphase components of a map, in the order (even row, even col), (even, odd), (odd, even), (odd, odd).

    ValueError for a map with an odd side, whose components differ in size.
    """
    batch, channel, row, col = f.shape
    if row % 2 or col % 2:
        raise ValueError(f"polyphase: a {row}x{col} map has components of different sizes; give one with even sides")
    split = f.reshape(batch, channel, row // 2, 2, col // 2, 2)
    return split.permute(0, 3, 5, 1, 2, 4).reshape(batch, 4, channel, row // 2, col // 2)


def strongest(f: Features) -> Int[Tensor, " batch"]:
    """The index of the component with the largest l2 norm over channels and places; the first of equal ones."""
    return components(f.detach()).double().square().sum((2, 3, 4)).argmax(1)


def keep(f: Float[Tensor, "batch channel row col"], component: Int[Tensor, " batch"]
         ) -> Float[Tensor, "batch channel half_row half_col"]:
    """One component of each map of the batch."""
    return components(f)[torch.arange(len(f), device=f.device), component]


class PolyphaseBlock(BasicBlock):
    """timm's basic block of stride 2, sampled adaptively after its first activation; the shortcut keeps the same
    component of its input.
    """
    downsample: nn.Module   # which a strided block has

    def forward(self, x: Float[Tensor, "batch channel row col"]) -> Float[Tensor, "batch out half_row half_col"]:
        out = self.act1(self.bn1(self.conv1(x)))
        component = strongest(out)
        out = self.bn2(self.conv2(keep(out, component)))
        return self.act2(out + self.downsample(keep(x, component)))


def sample_adaptively(model: nn.Module) -> nn.Module:
    """Replace the stride of every strided basic block of a timm ResNet by adaptive sampling, in place.

    Parameters and their names stay as they are.  Returns the model.  ValueError naming the layer if another layer has a
    stride, such as ImageNet's stem, a bottleneck, or the shortcut of BlurPool.
    """
    for block in modules(model):
        if type(block) is BasicBlock and block.stride == 2 and isinstance(block.downsample, nn.Sequential):
            shortcut = block.downsample[0]
            if isinstance(shortcut, nn.Conv2d):
                block.conv1.stride = shortcut.stride = (1, 1)
                block.__class__ = PolyphaseBlock   # keeps parameters and buffers
    for name, layer in named_modules(model):
        if isinstance(layer, STRIDED) and layer.stride not in (1, (1, 1)):
            raise ValueError(f"polyphase: layer {name} has a stride of {layer.stride}, and only that of basic blocks "
                             "can be made adaptive; choose cifar_resnet18")
    return model
