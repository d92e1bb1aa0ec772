"""An estimate as one document: what `run --estimate --json` prints."""

from collections.abc import Mapping
from typing import Any

from stagebook.insight.estimate import Estimate
from stagebook.insight.trend import Range
from stagebook.model.usage import dollars


def estimate_document(found: Estimate) -> Mapping[str, Any]:
    """Give an estimate as JSON has it: amounts as {low, expected, high}, money as decimal strings."""
    totals = ("calls", "input_tokens", "output_tokens")
    return {
        "pipeline": found.pipeline,
        "input_bytes": found.input_size,
        "runs": found.runs,
        "stages": [
            {
                "name": stage.name,
                "number": stage.number,
                "model": stage.model,
                **{name: _counts(getattr(stage, name)) for name in totals},
                "cost_usd": _money(stage.cost),
                "seconds": _seconds(stage.seconds),
                "source": stage.source,
                "at_most": stage.bounded,
            }
            for stage in found.stages
        ],
        "total": {
            **{name: _counts(found.total(name)) for name in totals},
            "cost_usd": _money(found.total("cost")),
            "seconds": _seconds(found.seconds),
            "at_most": found.bounded,
            "without": list(found.unknown),
        },
    }


def _counts(amount: Range | None) -> dict[str, int] | None:
    if amount is None:
        return None
    return {"low": round(amount.low), "expected": round(amount.expected), "high": round(amount.high)}


def _seconds(amount: Range | None) -> dict[str, float] | None:
    if amount is None:
        return None
    return {"low": round(amount.low, 3), "expected": round(amount.expected, 3), "high": round(amount.high, 3)}


def _money(amount: Range | None) -> dict[str, str] | None:
    if amount is None:
        return None
    return {
        "low": dollars(round(amount.low)),
        "expected": dollars(round(amount.expected)),
        "high": dollars(round(amount.high)),
    }
