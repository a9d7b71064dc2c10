import copy
import json
import math
import os
import pickle
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ekiben
from ekiben import routing
from ekiben.errors import SpecError
from ekiben.routing import Choice, Route, canary, choose, chooser, only, shadow, split, unit_for

built = pytest.mark.skipif(routing.loops is None, reason="ekiben was installed where there is no compiler")
ROUTE = Route({"champion": 0.7, "challenger": 0.2, "next": 0.1}, salt="s")
GOLDEN = ["champion"] * 20
GOLDEN[2] = GOLDEN[6] = GOLDEN[11] = "challenger"
GOLDEN[16] = "next"


def test_a_route_can_be_compared_hashed_pickled_copied_and_taken_apart():
    route = Route({"champion": 9, "challenger": 1}, shadows=("next",), salt="s")
    assert route == Route({"challenger": 1.0, "champion": 9.0}, shadows=("next",), salt="s")
    assert hash(route) == hash(Route({"challenger": 1, "champion": 9}, shadows=("next",), salt="s"))
    assert pickle.loads(pickle.dumps(route)) == copy.deepcopy(route) == route
    assert route.weights == {"champion": 9.0, "challenger": 1.0}
    assert json.dumps(dict(route.weights)) == '{"challenger": 1.0, "champion": 9.0}'
    assert asdict(route)["shadows"] == ("next",)
    assert eval(repr(route)) == route


def test_a_route_does_not_change():
    weights = {"champion": 1.0}
    route = Route(weights)
    weights["champion"] = 5.0
    assert route.weights == {"champion": 1.0}
    with pytest.raises(TypeError):
        route.weights["champion"] = 2.0
    with pytest.raises(AttributeError):
        route.salt = "other"
    assert replace(route, weights={"next": 1.0}).weights == {"next": 1.0}


def test_weights_are_relative():
    assert split(a=3, b=1).share("a") == 0.75
    assert Route({"a": 1e308, "b": 5e307}).share("a") == pytest.approx(2 / 3)
    assert Route({"a": 1, "b": 0}, shadows=("c",)).share("b") == 0
    assert Route({"a": 1}, shadows=("c",)).share("c") == 0


def test_the_share_of_a_stranger_is_refused_with_the_nearest_arm():
    with pytest.raises(SpecError, match=re.escape("Got 'champoin'. Did you mean 'champion'?")):
        only("champion").share("champoin")


@built
@given(
    route=st.builds(
        Route,
        st.dictionaries(
            st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True) | st.just("a" * 127) | st.just("a" * 128),
            st.sampled_from([1.0, 0.1, 1e-300, 1e300]),
            min_size=2,
            max_size=5,
        ).filter(lambda weights: math.fsum(weights.values()) < math.inf),
        salt=st.text(max_size=80),
    ),
    units=st.lists(st.text(st.characters(), max_size=300) | st.sampled_from(["", "\ud800", "é" * 200]), max_size=20),
)
def test_the_loop_chooses_what_python_chooses(route, units):
    with pytest.MonkeyPatch.context() as without:
        arms = {arm: arm for arm in route.weights}
        by_loop = chooser(route, arms)
        without.setattr(routing, "loops", None)
        assert [*map(by_loop, units)] == [*map(chooser(route, arms), units)]


@built
@pytest.mark.parametrize(
    "told",
    [
        (),
        [],
        ((b"a", b"k" * 64, 0.0),),
        ((b"", b"k" * 64, 0.0, "a"),),
        ((b"a" * 129, b"k" * 64, 0.0, "a"),),
        ((b"a", b"k", 0.0, "a"),),
        (("a", b"k" * 64, 0.0, "a"),),
        ("abcd",),
    ],
)
def test_what_pulls_at_nobody_is_refused(told):
    with pytest.raises((TypeError, ValueError)):
        routing.loops.pulls(told)


@built
def test_a_unit_is_text():
    pulls = routing.loops.pulls(((b"a", b"k" * 64, 0.0, "a"),))
    assert routing.loops.strongest(pulls, "") == "a"
    for wrong in ((pulls, b""), (pulls,), (None, ""), (pulls, 1)):
        with pytest.raises((TypeError, ValueError)):
            routing.loops.strongest(*wrong)


def test_one_arm_answers_every_unit():
    assert choose(only("champion"), "") == Choice(arm="champion", propensity=1.0, unit="")
    assert choose(Route({"a": 1, "b": 0}), "x").propensity == 1.0


def test_the_propensity_is_the_share():
    choice = choose(ROUTE, "customer-7")
    assert choice.propensity == ROUTE.share(choice.arm)
    assert choice.unit == "customer-7"


@pytest.mark.parametrize("unit", ["", "\0", "ö", "👩‍🚀", "\ud800", "\ud83d\ude00", "a\nb", "x" * 2**20])
def test_any_text_is_a_unit(unit):
    assert choose(ROUTE, unit) == choose(ROUTE, unit)


@pytest.mark.parametrize("unit", [7, None, b"7", 7.0])
@pytest.mark.parametrize("route", [ROUTE, only("champion")])
def test_a_unit_that_is_not_text_is_refused_by_every_route(route, unit):
    with pytest.raises(SpecError, match=re.escape(f"The 'unit' must be text. Got {unit!r}. Pass str(unit).")):
        choose(route, unit)


def test_choices_are_those_of_every_other_release():
    # Changing one of these moves people between arms in the middle of an experiment.
    arms = [choose(ROUTE, f"customer-{n}").arm for n in range(20)]
    assert arms == GOLDEN
    assert choose(ROUTE, "").arm == "champion"
    assert choose(ROUTE, "\ud800ö👩").arm == "champion"


def test_choices_are_the_same_in_every_process():
    code = (
        "from ekiben.routing import *\n"
        "route = Route({'champion': 0.7, 'challenger': 0.2, 'next': 0.1}, salt='s')\n"
        "print(','.join(choose(route, f'customer-{n}').arm for n in range(20)))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(ekiben.__file__).parents[1]), "PYTHONHASHSEED": "7"}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert out.stdout.strip().split(",") == GOLDEN


def test_shares_follow_the_weights():
    arms = [choose(ROUTE, f"customer-{n}").arm for n in range(20_000)]
    expected = {arm: 20_000 * ROUTE.share(arm) for arm in ROUTE.weights}
    chi_square = sum((arms.count(arm) - n) ** 2 / n for arm, n in expected.items())
    assert chi_square < 13.8  # one salt in a thousand would be worse


def test_another_salt_deals_the_units_anew():
    one, other = split(a=1, b=1), replace(split(a=1, b=1), salt="other")
    same = sum(choose(one, f"u{n}").arm == choose(other, f"u{n}").arm for n in range(10_000))
    assert abs(same - 5_000) < 4 * math.sqrt(2_500)


def test_a_canary_gets_its_percent():
    route = canary(stable="champion", canary="challenger", percent=10)
    assert route.weights == {"champion": 0.9, "challenger": 0.1}
    assert canary(stable="a", canary="b", percent=0.07).weights == {"a": 0.9993, "b": 0.0007}
    assert canary(stable="a", canary="b", percent=0).weights == {"a": 1.0, "b": 0.0}
    assert canary(stable="a", canary="b", percent=100).weights == {"a": 0.0, "b": 1.0}


@pytest.mark.parametrize("percent", [120, -1, math.nan, math.inf, "10", None, True, 10**400])
def test_a_percent_outside_0_to_100_is_refused(percent):
    with pytest.raises(SpecError, match="The 'percent' of a canary must be a number between 0 and 100"):
        canary(stable="a", canary="b", percent=percent)


def test_a_canary_of_itself_is_refused():
    with pytest.raises(SpecError, match=re.escape("must differ. Got 'a' for both.")):
        canary(stable="a", canary="a", percent=10)


def test_a_shadow_never_answers():
    route = shadow(live="champion", shadows=["next", "challenger"])
    assert route == shadow(live="champion", shadows=("challenger", "next"))
    assert route.arms == ("challenger", "champion", "next")
    assert {choose(route, f"u{n}").arm for n in range(100)} == {"champion"}
    assert shadow(live="champion", shadows="next").shadows == ("next",)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "weights must sum to a finite number above 0, so that an arm can answer. Got {}."),
        ({"a": 0.0}, "weights must sum to a finite number above 0"),
        ({"a": 1e308, "b": 1e308}, "weights must sum to a finite number above 0"),
        ({"a": -1}, "weights.a must be a finite number, at least 0. Got -1."),
        ({"a": math.nan}, "Got nan."),
        ({"a": math.inf}, "Got inf."),
        ({"a": 10**400}, "weights.a must be a finite number"),
        ({"a": 10**5000}, "Got a int too long to show."),
        ({"a": "1"}, "Got '1'."),
        ({"a": True}, "Got True."),
        (
            {"Champion": 1},
            "An arm must be named by lower case letters, digits and '_', a letter first, such as 'champion'. Got 'Champion'.",
        ),
        ({"a\n": 1}, r"Got 'a\n'."),
        ({7: 1}, "Got 7."),
        ([("a", 1)], "weights must be a weight for each arm, such as {'champion': 1.0}."),
    ],
)
def test_weights_that_cannot_be_are_refused(weights, message):
    with pytest.raises(SpecError, match=re.escape(message)):
        Route(weights)


@pytest.mark.parametrize(
    ("shadows", "message"),
    [
        (("a",), "shadows must not answer. Got 'a', whose weight is 1. Make its weight 0."),
        (("b", "b"), "shadows must name an arm once. Got 'b' 2 times."),
        (("B",), "An arm must be named by lower case letters, digits and '_', a letter first, such as 'b'. Got 'B'."),
        ("next", "shadows must be a list of arms. Got 'next'."),
    ],
)
def test_shadows_that_cannot_be_are_refused(shadows, message):
    with pytest.raises(SpecError, match=re.escape(message)):
        Route({"a": 1}, shadows=shadows)


def test_an_arm_of_weight_zero_may_be_a_shadow():
    assert Route({"a": 1, "b": 0}, shadows=("b",)).shadows == ("b",)


@pytest.mark.parametrize("salt", ["\ud800", None, b"s"])
def test_a_salt_that_no_file_can_hold_is_refused(salt):
    with pytest.raises(SpecError, match="salt must be text"):
        Route({"a": 1}, salt=salt)


def test_every_fault_of_a_route_is_named_at_once():
    with pytest.raises(SpecError) as caught:
        Route({"a": -1, "B": 1}, shadows="next", salt=3)
    assert [line.split(" ")[0] for line in str(caught.value).splitlines()] == [
        "An",
        "weights.a",
        "shadows",
        "salt",
    ]


def test_a_unit_is_found_for_each_arm_that_answers():
    for arm in ROUTE.weights:
        unit = unit_for(ROUTE, arm, prefix="customer")
        assert choose(ROUTE, unit).arm == arm
        assert re.fullmatch("customer-[0-9]+", unit)
    rare = canary(stable="a", canary="b", percent=0.1)
    assert choose(rare, unit_for(rare, "b")).arm == "b"


@pytest.mark.parametrize("weight", [0, 1e-9])
def test_no_unit_is_sought_for_an_arm_that_hardly_answers(weight):
    with pytest.raises(SpecError, match=re.escape(f"Got {100 * weight:g} %. Raise its weight.")):
        unit_for(split(a=1, b=weight), "b")


def test_a_route_reads_as_a_sentence():
    assert str(shadow(live="champion", shadows=["next"])) == "champion 100 % · shadow: next"
    assert str(split(a=1, b=2)) == "b 66.67 % · a 33.33 %"
    assert str(split(a=1, b=1e-9)) == "a >99.99 % · b <0.01 %"


def test_a_notebook_shows_a_bar_of_shares():
    html = replace(ROUTE, shadows=("later",), salt="<script>")._repr_html_()
    assert html.count("<span") == html.count("</span>")
    assert html.count("<div") == html.count("</div>")
    for text in ("width:70.0000%", "champion 70 %", "next 10 %", "shadow: later", 'role="img"'):
        assert text in html
    assert "<script>" not in html
    assert "&lt;0.01" in split(a=1, b=1e-9)._repr_html_()
