"""A small real language model in this process, asked like any provider in OpenAI's chat completions."""

from stagebook.llm.local.model import LocalModel

__all__ = ["LocalModel"]
