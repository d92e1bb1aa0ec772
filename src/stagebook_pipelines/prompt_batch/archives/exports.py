"""Exports of a person's own conversations, from ChatGPT and from Claude."""

from typing import Any

from stagebook_pipelines.prompt_batch.archives.asked import Found, Remark, asked, is_user, text_of

_NOT_TYPED = frozenset({"user_editable_context", "model_editable_context"})
"""Content of ChatGPT's user turns that nobody typed: standing instructions, and what it remembers."""


def chatgpt(conversation: dict[str, Any]) -> Found:
    """Read a conversation of ChatGPT's data export: messages are nodes of a tree, under `mapping`.

    Only the path from the root to `current_node` is read: what the person saw at last. Prompts that were edited, and
    what followed upon answers that were made anew, stand on other branches. Where `current_node` names no node, the
    path to the newest message is taken, and where the path runs in a circle, it ends there; both are told.

    Args:
        conversation: The record.

    Yields:
        The person's prompts, from first to last. Turns that are hidden are none.
    """
    nodes = conversation["mapping"]
    at = conversation.get("current_node")
    if not (isinstance(at, str) and at in nodes):
        if nodes:
            yield Remark("has a current_node that names no message; the path to its newest message was read")
        at = _newest(nodes)
    path: list[Any] = []
    visited: set[str] = set()
    while isinstance(at, str) and isinstance(node := nodes.get(at), dict):
        if at in visited:
            yield Remark("has messages that follow each other in a circle; each was read once")
            break
        visited.add(at)
        path.append(node.get("message"))
        at = node.get("parent")
    for number, message in enumerate(reversed(path)):
        if isinstance(message, dict) and _typed(message):
            content = message.get("content")
            parts = content.get("parts", content.get("text")) if isinstance(content, dict) else content
            yield asked(text_of(parts), "message {} of its path", number)


def _typed(message: dict[str, Any]) -> bool:
    """Whether the person typed (or spoke) it."""
    author = message.get("author")
    if not (isinstance(author, dict) and is_user(author.get("role"))):
        return False
    content, facts = message.get("content"), message.get("metadata")
    if isinstance(content, dict) and content.get("content_type") in _NOT_TYPED:
        return False
    return not (isinstance(facts, dict) and facts.get("is_visually_hidden_from_conversation") is True)


def _newest(nodes: dict[str, Any]) -> str | None:
    """The message that was made last; of messages without a time, the one that stands last."""
    newest, latest = None, float("-inf")
    for name, node in nodes.items():
        message = node.get("message") if isinstance(node, dict) else None
        if isinstance(message, dict):
            made = message.get("create_time")
            made = float(made) if isinstance(made, (int, float)) else latest
            if made >= latest:
                newest, latest = name, made
    return newest


def claude(conversation: dict[str, Any]) -> Found:
    """Read a conversation of Claude's data export: `chat_messages`, whose sender is `human` or `assistant`.

    Args:
        conversation: The record.

    Yields:
        The person's prompts: the text blocks of `content`, or else `text`. Texts of attached files are no prompts.
    """
    for number, message in enumerate(conversation["chat_messages"]):
        if isinstance(message, dict) and is_user(message.get("sender")):
            text = text_of(message.get("content"))
            yield asked(text if text.strip() else text_of(message.get("text")), "chat_messages[{}]", number)
