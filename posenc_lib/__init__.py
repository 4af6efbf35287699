"""The thin library under the book: what the pages build by hand once, they import from here.

Modules, in import order (a module imports only from those before it; tests/test_layers.py holds that):
shapes, config, draws, lanes, progress, imageset, street_things, streets, embedded, data, people, canvas, padding,
models, hooks, training, encoders, decoding, metrics, missrate, channels, segmentation, detection, augshift,
cluster, slices, records, imagenet, claims, iclr2020, iccv2021, iccv2021_augshift, iccv2021_channels, paper,
networks, probing, look, picture_figures, figures, page, report.
"""
