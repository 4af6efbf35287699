"""The thin library under the book: what the pages build by hand once, they import from here.

A room imports only from those before it, and from itself (tests/test_layers.py holds that):

base         shapes, checks, random numbers, files, progress, git
data         image sets: bundled, drawn, or read from files
nets         padding, hooks, heads, networks, weights
measure      placements, features, scores, rankings of channels
run          configuration, training, decoding heads, records, clusters
probe        position in any network
experiments  what is trained and measured, one module a page
claims       what the papers claim, and the rules, one module a page
show         figures, tables, pages, reports
commands     probe, augshift and records of the command line
"""
__version__ = "0.1.0"
