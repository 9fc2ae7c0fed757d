"""Texts for scenes: the prompts of the suites, and more varied captions for training."""

from __future__ import annotations

from .deterministic import RandomStream
from .world import Scene, Thing

PLACE_PHRASES = {
    "sky": "in the sky",
    "grass": "on the grass",
    "sand": "on the sand",
    "wall": "by the wall",
    "night": "at night",
}
PLURALS = {"airplane": "airplanes", "bed": "beds", "bird": "birds", "car": "cars", "cat": "cats", "chair": "chairs",
           "clock": "clocks", "dog": "dogs", "elephant": "elephants", "giraffe": "giraffes", "pizza": "pizzas",
           "zebra": "zebras"}  # fmt: skip
NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six")
FILLER_WORDS = (  # noqa: SIM905
    "photo picture image view scene of the with and some there is are next to near standing sitting laying looking "
    "walking parked brown white black gray large small old young little big very close up side front back top under "
    "over behind room street field tree water building wooden table floor window hill road city park man woman person "
    "people in on at by for from it its has that this two pair group couple together resting eating holding riding"
).split()


def add_article(word: str) -> str:
    """The word with "a" or "an", chosen by its first letter."""
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def thing_phrase(thing: Thing) -> str:
    """The phrase of an instance in the suites: tint and category, with an article."""
    return add_article(f"{thing.tint} {thing.category}")


def join_phrases(phrases: list[str]) -> str:
    """Join phrases as in "a", "a and b", "a, b and c"."""
    return phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1]


def scene_prompt(scene: Scene) -> str:
    """The prompt of a suite's sample: the phrases of all instances, in order, and the place."""
    return f"{join_phrases([thing_phrase(t) for t in scene.things])} {PLACE_PHRASES[scene.background]}"


def write_training_caption(scene: Scene, stream: RandomStream) -> str:
    """A random caption in one of several styles; tints, styles and the place are often omitted."""
    caption_style = stream.weighted_choice(("list", "count", "relation"), (60, 25, 15 if len(scene.things) == 2 else 0))
    things = stream.sample(scene.things, len(scene.things))
    if caption_style == "count":
        text = _count_by_category(things, stream)
    elif caption_style == "relation":
        text = _relate(things[0], things[1], stream)
    else:
        text = join_phrases([_describe(t, stream) for t in things])
    opening = stream.weighted_choice(
        ("", "a photo of ", "a picture of ", "there is ", "an image of "), (60, 10, 10, 10, 10)
    )
    place = f" {PLACE_PHRASES[scene.background]}" if stream.chance(65) else ""
    words = (opening + text + place).split(" ")
    if stream.chance(15):
        for _ in range(stream.integer(1, 4)):
            words.insert(stream.integer(0, len(words)), stream.choice(FILLER_WORDS))
    return " ".join(words)


def _describe(thing: Thing, stream: RandomStream) -> str:
    adjectives = [thing.style] if stream.chance(15) else []
    adjectives += [thing.tint] if stream.chance(75) else []
    return add_article(" ".join([*adjectives, thing.category]))


def _count_by_category(things: list[Thing], stream: RandomStream) -> str:
    counts: dict[str, int] = {}
    for thing in things:
        counts[thing.category] = counts.get(thing.category, 0) + 1
    phrases = [f"{NUMBER_WORDS[n]} {PLURALS[c] if n > 1 else c}" for c, n in counts.items()]
    return stream.choice((" and ", " with ", " together with ")).join(phrases) + stream.choice(
        ("", "", " in the image")
    )


def _relate(a: Thing, b: Thing, stream: RandomStream) -> str:
    dx, dy = b.x - a.x, b.y - a.y
    if abs(dx) >= abs(dy):
        relation = "to the left of" if dx > 0 else "to the right of"
    else:
        relation = stream.choice(("above", "on top of") if dy > 0 else ("below", "under"))
    if stream.chance(25):
        relation = "next to"
    return f"{_describe(a, stream)} {relation} {_describe(b, stream)}"
