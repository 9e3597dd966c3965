"""Practice exercises of part 6."""

from typing import Any

from mtl_lib.exercises._practice import hint_for, practice


@practice("faq-row", "a list of pairs, (name of a claim, 1 or -1)")
def _(answer: Any) -> str | None:
    signs, about = dict(answer), "transfer-new-style-"
    if any(not name.startswith(about) for name in signs):
        return "One of these claims is not about a *new* style: the names tell."
    if signs.keys() & {f"{about}flat-fine-tuned", f"{about}flat-many"}:
        return "Both sides of one of these claims use the old network. Which claims have a new one?"
    if len(signs) < 2:
        return "One is missing: which styles were new, and came with four images?"
    if set(signs.values()) != {1}:
        return "Read the sentences again: who draws with less error if a claim holds?"
    return None


@practice("faq-chance", "a function, number of claims n → expected number of decided ones")
def _(answer: Any) -> str | None:
    counts = (20, 100, 260)
    mistakes = {
        "That is how many intervals hold the truth. Those leave a claim undecided.": 0.95,
        "An interval can miss the margin on either side: it then holds, or it fails.": 0.025,
        "That is in per cent.": 5,
    }
    wrong: dict[str, object] = {h: [share * n for n in counts] for h, share in mistakes.items()}
    wrong["That is for one claim: how many of n?"] = [0.05] * len(counts)
    otherwise = "In what share of cases does an interval of 95 % miss the truth?"
    return hint_for([answer(n) for n in counts], [n / 20 for n in counts], wrong, otherwise)
