"""Everything that Stagebook raises, in one tree.

```
StagebookError                exit code 1
├── UsageError                exit code 2: what was typed or given cannot be used
│   ├── DefinitionError           a pipeline is declared wrongly
│   ├── InputError                an input, a setting or a file cannot be used
│   │   └── SecretInInput             a literal secret stands where a reference belongs
│   ├── NotFound                  a run, stage, pipeline, item or model of that name is not there
│   ├── ModelNotInstalled         the weights of a local model are not on this machine
│   └── LedgerError               the ledger cannot be opened or read
│       ├── NoLedger                  there is none
│       ├── LedgerTooNew              it was written by a newer Stagebook
│       └── RunIsDriven               another living process drives this run
├── WriteRefused              the ledger's database refused a row
│   └── StaleWriter               the writer lost its claim: a later driver has taken over
├── ProviderError             a model's provider answered with an error, or not at all
│   ├── RateLimited               429
│   ├── ProviderUnavailable       5xx, a cut connection, half a body
│   ├── ProviderTimeout           no answer within the time given
│   ├── RequestRefused            any other 4xx: sending it again would change nothing
│   │   └── ContextTooLong            the request does not fit the model's context
│   └── MissingKey                no API key where one is needed
├── AnswerError               the provider answered, and the answer cannot be used
│   ├── AnswerRefused             the model declined
│   ├── AnswerTruncated           the answer ended at its token limit
│   └── AnswerInvalid             the answer fails its schema or a check after every try
├── StageFailed               a stage's own function raised
├── TemplateFailed            a template could not be rendered with what its stage reads
├── MissingOutput             an output that a stage needs is not in the ledger
├── RunFailed                 a run ended with failed steps
└── RunInterrupted            exit code 130: the run was stopped by a signal and can be resumed
    └── RunPaused                 exit code 3: paused by a wish or a budget
Complaint                     raised by a check to send an answer back to the model; not an error of ours
```
"""


class StagebookError(Exception):
    """The base of all errors that Stagebook raises on purpose; its text says what happened, where, and what to do."""

    exit_code = 1


class UsageError(StagebookError):
    """What was typed, declared or given cannot be used; nothing was run and nothing was written."""

    exit_code = 2


class DefinitionError(UsageError):
    """A pipeline is declared wrongly; the text gives file and line, the candidates, and the mend."""


class InputError(UsageError):
    """An input, a setting or a file cannot be used as it is."""


class SecretInInput(InputError):
    """A literal secret stands in an input; write a reference (`env:NAME`) in its place, resolved when it is used."""


class NotFound(UsageError):
    """No run, stage, pipeline, item or model of that name is there; the text lists the nearest names."""


class ModelNotInstalled(UsageError):
    """The weights of a local model are not on this machine; the text says which command brings them."""


class LedgerError(UsageError):
    """The ledger cannot be opened, read or written as a whole: read-only, locked, truncated, or not a database."""


class NoLedger(LedgerError):
    """No ledger is there yet, and none is made for reading; run something, or name the right one."""


class LedgerTooNew(LedgerError):
    """The ledger was written by a newer Stagebook; use that version, or another ledger."""


class RunIsDriven(LedgerError):
    """Another living process drives this run; wait for it, or stop it and resume."""


class WriteRefused(StagebookError):
    """The database refused a row; only the writer of that row fails, what was written beside it stands."""


class StaleWriter(WriteRefused):
    """A later driver has taken this run over, so what the earlier one still wanted to write was not written."""


class ProviderError(StagebookError):
    """A model's provider, or another outside service, answered with an error or not at all."""

    def __init__(self, message: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        """Keep what the retry policy needs.

        Args:
            message: What happened, where, and what to do.
            status: HTTP status, if there was an answer.
            retry_after: Seconds that the provider asked us to wait, if it did.
        """
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class RateLimited(ProviderError):
    """The provider answered 429: too many requests or tokens; retried after what it asked."""


class ProviderUnavailable(ProviderError):
    """The provider answered 5xx, cut the connection or sent half a body; retried."""


class ProviderTimeout(ProviderError):
    """No answer came within the time given; retried, and counted as possibly paid."""


class RequestRefused(ProviderError):
    """The provider refused the request for a reason that sending it again would not change."""


class ContextTooLong(RequestRefused):
    """The request does not fit the model's context; use a smaller window or a model with a larger one."""


class MissingKey(ProviderError):
    """No API key is set for the provider; the text names the environment variable."""

    exit_code = 2


class AnswerError(StagebookError):
    """The provider answered and was paid, and the answer cannot be used; the answer is kept in the ledger."""


class AnswerRefused(AnswerError):
    """The model declined to answer."""


class AnswerTruncated(AnswerError):
    """The answer ended at its token limit; raise `max_tokens` or ask for less."""


class AnswerInvalid(AnswerError):
    """The answer fails its schema or a check, after every try that the stage allows."""


class StageFailed(StagebookError):
    """A stage's own function raised; the text names the stage, the item and the original error."""


class TemplateFailed(StagebookError):
    """A template could not be rendered with what its stage reads; the text names template, line and variable."""


class MissingOutput(StagebookError):
    """An output that a stage reads is not in the ledger; the text names stage and field, before any money is spent."""


class RunFailed(StagebookError):
    """A run ended with failed steps; what was finished is kept and `resume` tries only what failed."""


class RunInterrupted(StagebookError):
    """The run was stopped by a signal; everything finished is kept and `resume` goes on."""

    exit_code = 130


class RunPaused(RunInterrupted):
    """The run was paused by a wish or by its budget; `resume` goes on."""

    exit_code = 3


class Complaint(Exception):
    """Raised by a check: the text goes back to the model with its answer, as the reason to try again."""

    def __init__(self, reason: str, *, insist: bool = True) -> None:
        """Keep the reason.

        Args:
            reason: What is wrong and what is wanted, for the model.
            insist: Fail the step when the tries are used up; otherwise the last answer is accepted, with this as a
                warning.
        """
        super().__init__(reason)
        self.insist = insist
