"""The face that Tensorleap sees.

A module for each mode of the analysis holds the decorated functions; importing it registers them
with code-loader, so only ``leap_binder.py`` does. Beside them, `checks` tries them out offline.
"""
