"""What a request is going to count against its provider's limit of tokens, told from its bytes."""

import re
from typing import Final

from stagebook.door.rate import Weight
from stagebook.llm.worst_case import LIMIT_FIELDS
from stagebook.model.exchange import Request

_LIMIT: Final = re.compile(rb'"(?:%b)"\s*:\s*(\d+)' % "|".join(LIMIT_FIELDS).encode())
"""Inside of a text of a prompt its quotation marks would be escaped."""


def weigh(request: Request) -> Weight:
    """Weigh a request to a model: providers count its input, and the most that its answer may have, when it arrives.

    (OpenAI's guide, "Rate limits": the greater of max_tokens and an estimate from the characters; Azure's, "Tokens per
    minute": prompt and max_tokens together; Anthropic counts the output as it comes, which is less.)
    """
    body = request.body
    found = _LIMIT.search(body)
    return Weight(len(body), 0 if found is None else int(found[1]))
