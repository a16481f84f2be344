"""The version of keephold, read by the build backend and by `keephold --version`."""

__version__ = "0.1.0"
