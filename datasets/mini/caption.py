"""Words for scenes: the suite's prompts, and the freer captions that training learns from."""

from __future__ import annotations

from .deterministic import Draw
from .world import Scene, Thing

PLACES = {
    "sky": "in the sky",
    "grass": "on the grass",
    "sand": "on the sand",
    "wall": "by the wall",
    "night": "at night",
}
PLURALS = {"airplane": "airplanes", "bed": "beds", "bird": "birds", "car": "cars", "cat": "cats", "chair": "chairs",
           "clock": "clocks", "dog": "dogs", "elephant": "elephants", "giraffe": "giraffes", "pizza": "pizzas",
           "zebra": "zebras"}  # fmt: skip
NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
FILLERS = (  # noqa: SIM905
    "photo picture image view scene of the with and some there is are next to near standing sitting laying looking "
    "walking parked brown white black gray large small old young little big very close up side front back top under "
    "over behind room street field tree water building wooden table floor window hill road city park man woman person "
    "people in on at by for from it its has that this two pair group couple together resting eating holding riding"
).split()


def article(word: str) -> str:
    """`a` or `an`, by the first letter."""
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def phrase(thing: Thing) -> str:
    """The instance's own phrase in the suites: tint and category, with an article."""
    return article(f"{thing.tint} {thing.category}")


def joined(parts: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def prompt(scene: Scene) -> str:
    """The suite's prompt: every instance's phrase, in order, and the place."""
    return f"{joined([phrase(t) for t in scene.things])} {PLACES[scene.background]}"


def training_caption(scene: Scene, draw: Draw) -> str:
    """A caption in one of several manners; colours, styles and the place are often left unsaid."""
    manner = draw.weighted(("list", "count", "relation"), (60, 25, 15 if len(scene.things) == 2 else 0))
    things = draw.sample(scene.things, len(scene.things))
    if manner == "count":
        text = _counted(things, draw)
    elif manner == "relation":
        text = _related(things[0], things[1], draw)
    else:
        text = joined([_described(t, draw) for t in things])
    lead = draw.weighted(("", "a photo of ", "a picture of ", "there is ", "an image of "), (60, 10, 10, 10, 10))
    place = f" {PLACES[scene.background]}" if draw.chance(65) else ""
    words = (lead + text + place).split(" ")
    if draw.chance(15):
        for _ in range(draw.integer(1, 4)):
            words.insert(draw.integer(0, len(words)), draw.pick(FILLERS))
    return " ".join(words)


def _described(thing: Thing, draw: Draw) -> str:
    adjectives = [thing.style] if draw.chance(15) else []
    adjectives += [thing.tint] if draw.chance(75) else []
    return article(" ".join([*adjectives, thing.category]))


def _counted(things: list[Thing], draw: Draw) -> str:
    kinds: dict[str, int] = {}
    for thing in things:
        kinds[thing.category] = kinds.get(thing.category, 0) + 1
    parts = [f"{NUMBERS[n]} {PLURALS[c] if n > 1 else c}" for c, n in kinds.items()]
    return draw.pick((" and ", " with ", " together with ")).join(parts) + draw.pick(("", "", " in the image"))


def _related(a: Thing, b: Thing, draw: Draw) -> str:
    dx, dy = b.x - a.x, b.y - a.y
    if abs(dx) >= abs(dy):
        relation = "to the left of" if dx > 0 else "to the right of"
    else:
        relation = draw.pick(("above", "on top of") if dy > 0 else ("below", "under"))
    if draw.chance(25):
        relation = "next to"
    return f"{_described(a, draw)} {relation} {_described(b, draw)}"
