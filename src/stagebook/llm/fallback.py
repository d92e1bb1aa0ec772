"""Models that stand in for each other: whose turn it is."""

from collections.abc import Callable, Sequence

from stagebook.model.errors import ProviderError, ProviderTimeout, ProviderUnavailable, RateLimited

ANSWERED_BY = "answered by "
"""Begins the warning on an answer that was not the first model's."""


def answered_by(warning: str, models: Sequence[str] | None = None) -> bool:
    """Whether a warning says that a stand-in answered, one of these if any are named."""
    if models is None:
        return warning.startswith(ANSWERED_BY)
    return any(warning.startswith(f"{ANSWERED_BY}{model}: ") for model in models)


class Line:
    """The models that may answer one question, in order. The first that can is kept for the whole conversation.

    Args:
        models: Each `provider:name`.
    """

    passed_over = (ProviderUnavailable, RateLimited, ProviderTimeout)
    """Errors after which the next model is asked. A refused request or a refusal would be one there, too."""

    def __init__(self, models: Sequence[str]) -> None:
        self._models = models
        self._at = 0

    @property
    def model(self) -> str:
        """Whose turn it is."""
        return self._models[self._at]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is to be said of an answer that was not the first model's."""
        if self._at == 0:
            return ()
        return (f"{ANSWERED_BY}{self.model}: {', '.join(self._models[: self._at])} could not be asked",)

    def recall(self, is_recorded: Callable[[str], bool]) -> None:
        """Go on where an earlier attempt was: at the last model that has answered this very question.

        Args:
            is_recorded: Whether a model's answer is in the ledger.
        """
        if self._at + 1 == len(self._models):
            return
        later = range(len(self._models) - 1, self._at, -1)
        self._at = next((place for place in later if is_recorded(self._models[place])), self._at)

    def advance(self, error: ProviderError) -> bool:
        """Let the next model have its turn.

        Args:
            error: Why this one had none; told of all of them once there is none left.

        Returns:
            Whether there is one.
        """
        if self._at + 1 == len(self._models):
            if self._at:
                error.args = (f"{error}; and before it {', '.join(self._models[: self._at])} could not be asked",)
            return False
        self._at += 1
        return True
