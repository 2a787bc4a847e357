"""The version that is installed, or of this checkout."""

from importlib.metadata import version

VERSION = version("gpuwarden")
