"""The version, read from the installed package so that it stands in one place (pyproject.toml)."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("kubechat-obs")
except PackageNotFoundError:  # run from a tree that is not installed
    VERSION = "0+unknown"
