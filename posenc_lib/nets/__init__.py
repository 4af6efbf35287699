"""Networks and what is done to their layers: padding, hooks, heads, classifiers, segmenters, detectors, weights."""
