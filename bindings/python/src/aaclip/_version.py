"""The version of these bindings, that of the library that they were written for."""

__version__ = "0.1.0"
