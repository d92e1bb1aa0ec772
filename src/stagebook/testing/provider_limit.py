"""A rate limit that the fake provider enforces: requests and tokens in any window of time, not in fixed minutes."""

from collections import deque
from dataclasses import dataclass
from math import ceil

from stagebook.testing.provider_request import ChatRequest, Rejection


@dataclass(frozen=True, slots=True)
class RateLimit:
    """How much is let through in any `window` seconds."""

    requests: int | None = None
    """Most requests; None: no limit."""
    tokens: int | None = None
    """Most tokens: those of the input and the most that the answer may have, as Azure OpenAI counts them on arrival
    (its documentation of tokens per minute); None: no limit."""
    window: float = 60.0
    """Length of the window in seconds."""


class SlidingWindow:
    """Lets requests through while every window that ends now stays within the limit; refused ones do not count."""

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._passed: deque[tuple[float, int]] = deque()
        self._tokens = 0

    def admit(self, request: ChatRequest, now: float) -> Rejection | None:
        """Let a request through, or say when to come back.

        Args:
            request: What arrived.
            now: Seconds on any clock that does not go back.

        Returns:
            None, or the 429: with `Retry-After` in whole seconds, rounded up, and `retry-after-ms`; without either
            when the request alone is more than the limit.
        """
        limit = self._limit
        tokens = request.input_tokens + (request.max_tokens or 0)
        while self._passed and self._passed[0][0] <= now - limit.window:
            self._tokens -= self._passed.popleft()[1]
        if limit.tokens is not None and tokens > limit.tokens:
            return _refusal(request, "tokens", f"Limit {limit.tokens}, Requested {tokens}. Reduce the request.", None)
        if limit.requests is not None and len(self._passed) >= limit.requests:
            kind, free_at = "requests", self._passed[len(self._passed) - limit.requests][0] + limit.window
        elif limit.tokens is not None and self._tokens + tokens > limit.tokens:
            kind, free_at = "tokens", self._tokens_free_at(self._tokens + tokens - limit.tokens)
        else:
            self._passed.append((now, tokens))
            self._tokens += tokens
            return None
        wait = free_at - now
        return _refusal(request, kind, f"Please try again in {ceil(wait * 1000)}ms.", wait)

    def headers(self) -> dict[str, str]:
        """The `x-ratelimit-*` headers of an answer, as OpenAI names them."""
        told = {}
        for kind, most, used in (
            ("requests", self._limit.requests, len(self._passed)),
            ("tokens", self._limit.tokens, self._tokens),
        ):
            if most is not None:
                told[f"x-ratelimit-limit-{kind}"] = str(most)
                told[f"x-ratelimit-remaining-{kind}"] = str(most - used)
        return told

    def _tokens_free_at(self, needed: int) -> float:
        """When so many tokens will have left the window."""
        left = 0
        for at, tokens in self._passed:
            left += tokens
            if left >= needed:
                return at + self._limit.window
        raise AssertionError("a request larger than the limit is refused before this is asked")


def _refusal(request: ChatRequest, kind: str, hint: str, wait: float | None) -> Rejection:
    message = f"Rate limit reached for {request.model} on {kind}: {hint}"
    headers = {} if wait is None else {"Retry-After": str(ceil(wait)), "retry-after-ms": str(ceil(wait * 1000))}
    return Rejection(429, message, type=kind, code="rate_limit_exceeded", headers=headers)
