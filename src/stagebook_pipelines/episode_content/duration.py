"""How long an episode is, told by its time marks or by the pace of speech."""

from stagebook_pipelines.episode_content.markup import last_time_mark
from stagebook_pipelines.episode_content.words import count_words

WORDS_A_MINUTE = 150
"""The pace of conversational English; audiobook guidelines give 150 to 160."""


def estimate_minutes(transcript: str) -> int:
    """Minutes that the episode lasts: its last time mark and what is said after it, else its words at 150 a minute."""
    mark = last_time_mark(transcript)
    minutes, told = mark or (0.0, 0)
    return max(1, round(minutes + count_words(transcript[told:]) / WORDS_A_MINUTE))
