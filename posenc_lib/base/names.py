"""Display names, in figures, tables and evidence, of the identifiers in configurations, records and rows."""
from collections.abc import Hashable

NAMES = {   # identifiers that are not here print as they are
    # heads and probes
    "gapnet": "GAPNet", "permutenet": "PermuteNet", "posenet": "PosENet",
    "in_order": "in order", "shuffled": "shuffled", "permuted_labels": "permuted labels",
    "few_channels": "in order, few channels", "in_order_random": "in order, random weights",
    # padding modes and border fills
    "zeros": "zero", "constant": "black", "as_built": "as built", "true_surroundings": "true surroundings",
    # tasks
    "location": "location", "image": "image class",
    # data sets
    "photos": "photographs", "imagenet": "ImageNet", "digits_on_photos": "digits on photographs",
    "cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "camvid": "CamVid", "cityscapes": "Cityscapes",
    # views of z (page 03)
    "sorted": "sorted", "sum_and_norm": "sum and norm", "sum": "sum",
    # training methods (page 05)
    "augshift": "AugShift", "blurpool": "BlurPool", "blurpool_augshift": "BlurPool + AugShift",
    "baseline_long": "baseline, twice as long", "one_crop": "one crop", "two_crops": "two crops",
    "mse_only": "crop in the term only", "random_padding": "random padding", "circular_padding": "circular padding",
    "polyphase": "adaptive sampling",
    # readouts and tables (page 02)
    **{f"depth_{n}": f"{n} layer{'s' * (n > 1)}" for n in (1, 2, 3)},
    **{f"kernel_{n}": f"{n}x{n}" for n in (1, 3, 7)},
    **{f"stage_{n}": f"stage {n}" for n in range(1, 6)}, "all_stages": "all stages",
    "padding_1": "padding 1", "padding_2": "padding 2", "padding_removed": "padding removed",
    "without_padding": "without padding", "shuffled_H": "shuffled H", "fig6": "Fig. 6",
    # rankings of channels (pages 06 to 08)
    "flip": "flip response", "lowest_flip": "lowest flip response", "highest_flip": "highest flip response",
    "shift": "shift response", "decodability": "decodability", "highest_decodability": "highest decodability",
    "mirrored_network": "mirrored network on the mirror image",
    "symmetrised_flip": "flip response, symmetric kernels",
    "signed": "signed response", "signed_left": "signed, left", "signed_right": "signed, right",
    "rms_activation": "RMS activation", "active": "activation inside minus outside",
    # sets of ablated channels (pages 06 to 08)
    "nothing": "nothing", "random": "random", "rms_matched": "random, RMS-matched",
    "flip_mean": "flip response, set to mean", "only_there": "flip response, only there",
    "targeted": "targeted half", "other": "other half",
    # segmentation networks (page 06) and detectors (page 07)
    "plain": "plain", "trained": "as trained", "never_flipped": "never mirrored", "without_skip": "without the skip",
    "faster": "Faster R-CNN", "cascade": "Cascade R-CNN", "csp": "CSP",
    # classification networks (pages 02 and 08)
    "vgg": "VGG", "resnet": "ResNet", "vgg11": "VGG-11", "resnet18": "ResNet-18", "mobilenet_v2": "MobileNetV2",
    "nin": "NIN", "squeezenet1_1": "SqueezeNet 1.1", "mobilenetv2_100": "MobileNetV2",
    "resnet18_without_maxpool": "ResNet-18 without max-pool", "resnet18_blurpool": "ResNet-18 with BlurPool",
    "convnext_tiny": "ConvNeXt-T", "vit_tiny": "ViT-Ti", "vit_tiny_without_positions": "ViT-Ti without positions",
}


def label(key: Hashable) -> Hashable:
    """Look up the display name of a key, part by part between slashes: "small/photos" is "small, photographs"."""
    return ", ".join(NAMES.get(part, part) for part in key.split("/")) if isinstance(key, str) else key
