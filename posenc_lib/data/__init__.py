"""Data sets: bundled images, drawn street scenes, and readers of image files and of boxes of people.

registry.py lists every data set and loads one by its name.  To add a data set, write its reader in a file of its own
and add one entry to the registry.
"""
