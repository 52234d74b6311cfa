"""Freehold: an organization's own Azure OpenAI Service."""

from importlib.metadata import version

__version__ = version("freehold")
