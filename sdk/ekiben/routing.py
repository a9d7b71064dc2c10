"""Decide which arm answers a unit and which arms only watch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import blake2b
from html import escape
from itertools import count
from numbers import Real
from typing import Any, Generic, NamedTuple, TypeVar

from ekiben.errors import SpecError, nearest
from ekiben.loops import loops

T = TypeVar("T")
V_co = TypeVar("V_co", covariant=True)

_ARM = re.compile(r"[a-z][a-z0-9_]*")
LONGEST_NAME = 128  # bytes of an arm's name with its end, that the loop in C takes
_LEAST_SHARE = 1e-5  # below it, `unit_for` would try millions of units
_COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#e45756", "#72b7b2")


class ByArm(Mapping[str, V_co], Generic[V_co]):
    """Hold one value for each arm, sorted by arm, never changing.

    >>> ByArm({"champion": 0.9, "challenger": 0.1})
    {'challenger': 0.1, 'champion': 0.9}
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, V_co]) -> None:
        self._values = dict(sorted(values.items()))

    def __getitem__(self, arm: str) -> V_co:
        return self._values[arm]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(tuple(self._values.items()))

    def __repr__(self) -> str:
        return repr(self._values)


@dataclass(frozen=True, slots=True)
class Route:
    """Say which arms answer, how often, and which arms only watch.

    Parameters
    ----------
    weights
        How often each arm answers, relative to the sum. An arm of weight 0 never answers.
    shadows
        Arms that see every request and never answer.
    salt
        Change it to deal the units anew.

    Raises
    ------
    SpecError
        If no arm can answer, a weight is not a finite number of at least 0, or a shadow also answers.

    Examples
    --------
    >>> route = Route({"champion": 9, "challenger": 1}, shadows=("next",))
    >>> route.share("champion")
    0.9
    >>> print(route)
    champion 90 % · challenger 10 % · shadow: next
    """

    weights: Mapping[str, float]
    shadows: tuple[str, ...] = ()
    salt: str = ""

    def __post_init__(self) -> None:
        named = [*_listed(self.weights, Mapping), *_listed(self.shadows, tuple | list)]
        wrong = dict.fromkeys(fault for arm in named for fault in faults_of_arm(arm))
        if faults := [*wrong, *faults_of_route(self.weights, self.shadows, self.salt)]:
            raise SpecError("\n".join(faults))
        # + 0.0 makes -0.0 the same value, and the same text, as 0.0
        weights = {str(arm): float(weight) + 0.0 for arm, weight in self.weights.items()}
        object.__setattr__(self, "weights", ByArm(weights))
        object.__setattr__(self, "shadows", tuple(sorted(self.shadows)))

    @property
    def arms(self) -> tuple[str, ...]:
        """Name every arm that answers, could answer or watches.

        >>> Route({"champion": 1}, shadows=("next",)).arms
        ('champion', 'next')
        """
        return tuple(sorted({*self.weights, *self.shadows}))

    def share(self, arm: str) -> float:
        """Give the chance, in `[0, 1]`, that an arm answers; 0 for a shadow.

        >>> Route({"champion": 3, "challenger": 1}).share("challenger")
        0.25
        """
        if arm not in self.arms:
            raise SpecError(f"The 'arm' must be one of {list(self.arms)}. Got {arm!r}.{nearest(str(arm), self.arms)}")
        return self.weights.get(arm, 0.0) / math.fsum(self.weights.values())

    def __str__(self) -> str:
        parts = [f"{arm} {_percent(self.share(arm))} %" for arm in _largest_first(self)]
        if self.shadows:
            parts.append("shadow: " + ", ".join(self.shadows))
        return " · ".join(parts)

    def _repr_html_(self) -> str:
        return _html(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The arm that answers one unit, and the chance, in `(0, 1]`, that it had.

    >>> Choice(arm="champion", propensity=0.9, unit="customer-7").arm
    'champion'
    """

    arm: str
    propensity: float
    unit: str


def choose(route: Route, unit: str) -> Choice:
    """Choose the arm that answers a unit: always the same one.

    Each arm pulls with `weight / -log(fraction)`, where `fraction` in `(0, 1)` is a keyed hash of the unit, the
    salt and the arm; the strongest pull wins [1]_. So shares follow the weights, and raising one weight only moves
    units to that arm.

    Parameters
    ----------
    route
        The arms and their weights.
    unit
        Who sticks to an arm: any text.

    Raises
    ------
    SpecError
        If the unit is not text.

    References
    ----------
    .. [1] Schindelhauer & Schomaker, "Weighted Distributed Hash Tables", 2005.

    Examples
    --------
    >>> route = canary(stable="champion", canary="challenger", percent=10)
    >>> choose(route, "customer-7")
    Choice(arm='champion', propensity=0.9, unit='customer-7')
    """
    if not isinstance(unit, str):
        raise SpecError(f"The 'unit' must be text. Got {unit!r}. Pass str(unit).")
    winner = _winner(route)(unit)
    return Choice(arm=winner.arm, propensity=winner.share, unit=unit)


def chooser(route: Route, given: Mapping[str, T]) -> Callable[[str], T]:
    """Give what finds, for a unit, what is given for the arm that `choose` chooses; for who asks often.

    >>> route = canary(stable="champion", canary="challenger", percent=10)
    >>> chooser(route, {"champion": "the old one", "challenger": "the new one"})("customer-7")
    'the old one'
    """
    pulls = _pulls(route)
    return _picks(pulls, [given[pull.arm] for pull in pulls])


def only(arm: str) -> Route:
    """Send every unit to one arm.

    >>> print(only("champion"))
    champion 100 %
    """
    return Route({arm: 1.0})


def canary(*, stable: str, canary: str, percent: float) -> Route:
    """Send `percent` (0–100) of the units to a new arm and the others to the stable one.

    A champion and its challenger are this route too: raise `percent` as trust grows, and no unit goes back.

    >>> print(canary(stable="champion", canary="challenger", percent=10))
    champion 90 % · challenger 10 %
    """
    if stable == canary:
        raise SpecError(f"The 'stable' and 'canary' arms of a canary must differ. Got {stable!r} for both.")
    if not _is_number(percent) or not 0 <= percent <= 100:
        raise SpecError(f"The 'percent' of a canary must be a number between 0 and 100. Got {shown(percent)}.")
    return Route({stable: _tidy(1 - percent / 100), canary: _tidy(percent / 100)})


def split(**weights: float) -> Route:
    """Split the units between arms by relative weight, each arm named: `ek.split(champion=3, challenger=1)`.

    >>> print(split(a=1, b=1))
    a 50 % · b 50 %
    """
    return Route(weights)


def shadow(*, live: str, shadows: str | tuple[str, ...] | list[str]) -> Route:
    """Let one arm answer every unit while others see the same requests.

    >>> print(shadow(live="champion", shadows=["challenger", "next"]))
    champion 100 % · shadow: challenger, next
    """
    return Route({live: 1.0}, shadows=(shadows,) if isinstance(shadows, str) else tuple(shadows))


def unit_for(route: Route, arm: str, *, prefix: str = "unit") -> str:
    """Find the first unit `{prefix}-{n}` that a route gives to an arm.

    Raises
    ------
    SpecError
        If the arm never answers, or so seldom that the search would be long (a share below 0.00001).

    Examples
    --------
    >>> route = split(champion=1, challenger=1)
    >>> choose(route, unit_for(route, "challenger")).arm
    'challenger'
    """
    share = route.share(arm)
    if share < _LEAST_SHARE:
        raise SpecError(
            f"The arm {arm!r} must answer at least {100 * _LEAST_SHARE:g} % of the units to find one for it. "
            f"Got {100 * share:g} %. Raise its weight."
        )
    return next(unit for n in count() if choose(route, unit := f"{prefix}-{n}").arm == arm)


def faults_of_route(weights: object, shadows: object, salt: object) -> Iterator[str]:
    """Say what keeps these values from being a route, but for the names of arms; each fault starts with its dotted key.

    >>> list(faults_of_route({"champion": -1, "challenger": 1}, (), ""))
    ['weights.champion must be a finite number, at least 0. Got -1.']
    """
    yield from _faults_of_weights(weights)
    yield from _faults_of_shadows(shadows, weights if isinstance(weights, Mapping) else {})
    if not is_text(salt):
        yield f"salt must be text. Got {shown(salt)}."


def faults_of_arm(arm: object, key: str = "An arm") -> Iterator[str]:
    """Say why a name cannot be an arm's.

    >>> list(faults_of_arm("Arm-2"))
    ["An arm must be named by lower case letters, digits and '_', a letter first, such as 'arm_2'. Got 'Arm-2'."]
    """
    if isinstance(arm, str) and _ARM.fullmatch(arm):
        return
    near = re.sub(r"[^a-z0-9_]+", "_", arm.lower()).strip("_") if isinstance(arm, str) else ""
    legal = near if _ARM.fullmatch(near) else "challenger_2"
    rule = f"lower case letters, digits and '_', a letter first, such as {shown(legal)}"
    yield f"{key} must be named by {rule}. Got {shown(arm)}."


def _listed(values: Any, kind: Any) -> list[Any]:
    return list(values) if isinstance(values, kind) else []


def is_text(value: object) -> bool:
    r"""Tell whether a value is text that UTF-8 can write.

    >>> is_text("ö"), is_text("\ud800"), is_text(b"o")
    (True, False, False)
    """
    # UTF-8 writes everything but lone surrogates
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def shown(value: object) -> str:
    """Show a value in a message, in 80 characters at most.

    >>> shown("x" * 1000)[-5:]
    "xxx…'"
    """
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write numbers of more than 4300 digits
        return f"a {type(value).__name__} too long to show"
    return text if len(text) <= 80 else f"{text[:78]}…{text[-1]}"


class _Pull(NamedTuple):
    arm: str
    log_weight: float
    name: bytes
    key: bytes
    share: float


def _pulls(route: Route) -> tuple[_Pull, ...]:
    # The salt is hashed first because a key has at most 64 bytes; no arm's name holds a zero byte, so the unit cannot be
    # mistaken for the end of the name.
    key = blake2b(route.salt.encode(), digest_size=64, person=b"ekiben.routing").digest()
    return tuple(
        _Pull(arm, math.log(weight), arm.encode() + b"\0", key, route.share(arm))
        for arm, weight in route.weights.items()
        if weight > 0
    )


@lru_cache(maxsize=256)
def _winner(route: Route) -> Callable[[str], _Pull]:
    pulls = _pulls(route)
    return _picks(pulls, pulls)


def _picks(pulls: Sequence[_Pull], given: Sequence[T]) -> Callable[[str], T]:
    """Give what picks, for a unit, the one of `given` whose pull is the strongest."""
    if len(pulls) == 1:
        return lambda _unit: given[0]
    if loops is not None and max(len(pull.name) for pull in pulls) <= LONGEST_NAME:
        told = tuple((pull.name, pull.key, pull.log_weight, each) for pull, each in zip(pulls, given, strict=True))
        picks: Callable[[str], T] = partial(loops.strongest, loops.pulls(told))
        return picks
    # blake2b, not hash(): the same in every process
    begun = [(pull.log_weight, blake2b(pull.name, digest_size=8, key=pull.key)) for pull in pulls]
    return lambda unit: given[_strongest(begun, unit)]


def _strongest(pulls: Sequence[tuple[float, blake2b]], unit: str) -> int:
    # Logarithms of the pulls: the same order, and no weight is too large or too small for it. The first of equals
    # wins, so a raised weight still only draws units to its own arm.
    data = unit.encode("utf-8", "surrogatepass")
    best, strongest = 0, -math.inf
    for place, (log_weight, begun) in enumerate(pulls):
        keyed = begun.copy()
        keyed.update(data)
        # 52 bits and a half: a fraction that is never 0 and never 1
        fraction = ((int.from_bytes(keyed.digest(), "big") >> 12) + 0.5) * 2.0**-52
        strength = log_weight - math.log(-math.log(fraction))
        if strength > strongest:
            best, strongest = place, strength
    return best


def _faults_of_weights(weights: object) -> Iterator[str]:
    if not isinstance(weights, Mapping):
        yield f"weights must be a weight for each arm, such as {{'champion': 1.0}}. Got {shown(weights)}."
        return
    wrong = {arm: weight for arm, weight in weights.items() if not _is_number(weight) or not weight >= 0}
    for arm, weight in wrong.items():
        yield f"weights.{arm if isinstance(arm, str) and _ARM.fullmatch(arm) else shown(arm)} must be a finite number, at least 0. Got {shown(weight)}."
    if not wrong and not 0 < _sum(weights) < math.inf:
        yield f"weights must sum to a finite number above 0, so that an arm can answer. Got {shown(dict(weights))}."


def _faults_of_shadows(shadows: object, weights: Mapping[Any, Any]) -> Iterator[str]:
    if not isinstance(shadows, tuple | list):
        yield f"shadows must be a list of arms. Got {shown(shadows)}."
        return
    names = [arm for arm in shadows if isinstance(arm, str)]
    for arm in sorted({arm for arm in names if names.count(arm) > 1}):
        yield f"shadows must name an arm once. Got {arm!r} {names.count(arm)} times."
    for arm in sorted(set(names) & set(weights)):
        if _is_number(weights[arm]) and weights[arm] > 0:
            yield f"shadows must not answer. Got {arm!r}, whose weight is {shown(weights[arm])}. Make its weight 0."


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def _sum(weights: Mapping[Any, Any]) -> float:
    try:
        return math.fsum(weights.values())
    except OverflowError:
        return math.inf


def _tidy(share: float) -> float:
    # 1 - 0.9 is 0.09999999999999998; twelve digits are what a person meant
    return float(f"{share:.12g}")


def _percent(share: float) -> str:
    percent = 100 * share
    if 0 < percent < 0.01:
        return "<0.01"
    if 99.99 < percent < 100:
        return ">99.99"
    return f"{percent:.2f}".rstrip("0").rstrip(".")


def _largest_first(route: Route) -> list[str]:
    return sorted(route.weights, key=lambda arm: (-route.weights[arm], arm))


def _html(route: Route) -> str:
    arms = [(arm, _COLOURS[n % len(_COLOURS)]) for n, arm in enumerate(_largest_first(route))]
    bar = "".join(
        f'<span style="width:{100 * route.share(arm):.4f}%;background:{colour}"></span>' for arm, colour in arms
    )
    legend = "".join(_legend(f"{arm} {_percent(route.share(arm))} %", colour) for arm, colour in arms)
    watchers = "".join(_legend(f"shadow: {arm}", "transparent") for arm in route.shadows)
    return (
        '<div style="max-width:32em;font-family:system-ui,sans-serif;color:inherit">'
        f'<div role="img" aria-label="{escape(str(route))}" '
        'style="display:flex;height:1em;border-radius:4px;overflow:hidden">'
        f'{bar}</div><div style="display:flex;flex-wrap:wrap;gap:0 1.2em;margin-top:.3em">{legend}{watchers}</div></div>'
    )


def _legend(text: str, colour: str) -> str:
    dot = f"width:.7em;height:.7em;border-radius:50%;border:1px solid #888;background:{colour}"
    return (
        '<span style="display:inline-flex;align-items:center;gap:.4em">'
        f'<span style="box-sizing:border-box;{dot}"></span>{escape(text)}</span>'
    )
