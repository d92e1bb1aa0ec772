"""Which full stops belong to an abbreviation and end no sentence."""

import re

_NEVER_LAST = re.compile(
    r"dr|mrs?|ms|mx|prof|rev|st|gen|rep|sen|gov|lt|col|capt|cpt|sgt|hon|pres|mt|ft|vs|approx|ca|cf|viz|resp|incl|esp"
    r"|e\.?g|i\.e|bzw|z\.b|d\.h|u\.a|ggf|evtl|nr|abs|bspw|mme|mlle|sra|srta|dra",
)
_BEFORE_A_NUMBER = re.compile(r"nos?|vol|pp?|figs?|ch|chap|sec|art|op|ep|eq")
_MAYBE_LAST = re.compile(r"etc|inc|ltd|co|corp|jr|sr|bros|dept|est|min|max|avg|al|ph\.d|psy\.d")
_DOTTED = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]{1,2}")
_INITIAL = re.compile(r"[^\W\d_]")
_WORD_BEFORE = re.compile(r"[\w.&']+$")
_OPENS_A_SENTENCE = re.compile(
    r"a|an|the|i|i'm|i've|i'd|we|we're|we've|you|you're|he|he's|she|she's|it|it's|they|they're|this|that|that's|these"
    r"|those|there|and|but|so|or|if|when|what|why|how|who|where|then|now|my|your|our|his|her|their|in|on|at|as|for|to"
    r"|not|no|yes|yeah|well",
)
_LOOK_BACK = 24


def ends_in_abbreviation(text: str, stop: int, following: str) -> bool:
    """Whether the full stop at `text[stop]` only ends an abbreviation; `following` is the next word, "" for none.

    `U.S.`, initials and their like may also stand last in a sentence: they do where the next word is one that opens
    sentences.
    """
    match = _WORD_BEFORE.search(text, max(0, stop - _LOOK_BACK), stop)
    if match is None:
        return False
    word, capital = match.group().lstrip("."), match.group()[:1].isupper()
    small = word.lower()
    if _NEVER_LAST.fullmatch(small):
        return True
    if _BEFORE_A_NUMBER.fullmatch(small):
        return following[:1].isdigit()
    initial = capital and word != "I" and _INITIAL.fullmatch(word) is not None
    if _MAYBE_LAST.fullmatch(small) or initial or _DOTTED.fullmatch(word):
        return following != "" and not (following[0].isupper() and _OPENS_A_SENTENCE.fullmatch(following.lower()))
    return False
