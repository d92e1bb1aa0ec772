"""What a batch cannot go on with."""

from stagebook import StagebookError


class BatchError(StagebookError):
    """Something that a batch names cannot be used: a file, a metric, a variable; the text says which, and the mend."""

    exit_code = 2
