"""MessageJS: the messaging API that a web page may call."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("messagejs")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"
