"""Cards of older formats, as the newest one has them."""

from __future__ import annotations

from typing import Any


def upgraded(card: dict[str, Any]) -> dict[str, Any]:
    """A card of format 1 (ptv2_scale 0.1.0) as one of format 2; any other as it is.

    Raises:
        KeyError: it lacks what its format has.
        TypeError: a value is not of the kind that its format has.
    """
    if card["format"] != 1:
        return card
    recipe, labels = dict(card["recipe"]), [str(label) for label in card["labels"]]
    task = dict(recipe["task"])
    if task["name"] in ("classification", "demo"):
        task["labels"] = labels
    prompt = dict(recipe["prompt"])
    if prompt.pop("hidden", None) is not None:
        prompt["encoder"] = "table"  # which an export holds, whatever made it
    names = ("length", "slots", "kv_heads", "head_dim", "every_slot")
    prefixed = card["length"] is not None
    about = [f"labels: {', '.join(labels)}"]
    if prefixed:
        about.append(f"prefix: {card['length']} tokens in {len(card['slots'])} attention modules")
    return {
        **{key: card[key] for key in ("backbone", "family", "fingerprint", "head")},
        "recipe": {**recipe, "task": task, "prompt": prompt},
        "method": {name: card[name] for name in names} if prefixed else {},
        "about": about,
        "result": result_of(card["result"]),
        "format": 2,
    }


def result_of(result: dict[str, Any]) -> dict[str, Any]:
    """A run's result, as the newest version names its values."""
    if "majority" not in result:
        return dict(result)
    rest = {key: value for key, value in result.items() if key != "majority"}
    return {**rest, "trivial": result["majority"], "trivial_answer": "the most frequent class"}
