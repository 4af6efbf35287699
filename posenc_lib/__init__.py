"""The thin library under the book: what the pages build by hand once, they import from here.

A room imports only from those before it, and from itself (tests/test_layers.py holds that):

base         shapes, checks, random numbers, files, progress
data         image sets: bundled, drawn, or read from files
nets         padding, hooks, heads, networks, weights
measure      placements, features, scores, rankings of channels
run          configuration, training, records, clusters
experiments  what is trained and measured, one module a page
claims       what the papers claim, and the rules, one module a page
probe        the same questions about any network
show         figures, tables, pages, reports
"""
