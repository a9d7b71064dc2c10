from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from ekiben.routing import Route, canary, choose, unit_for

names = st.from_regex("[a-z][a-z0-9_]{0,8}", fullmatch=True)
weights = st.one_of(st.sampled_from([0.0, 1.0, 10.0]), st.floats(0, 1e300, allow_subnormal=True))
tables = st.dictionaries(names, weights, min_size=1, max_size=5).filter(lambda table: sum(table.values()) > 0)
texts = st.text(st.characters(), max_size=12)  # with lone surrogates
units = st.lists(texts, min_size=1, max_size=20)
salts = st.text(max_size=4)


def chosen(route, units):
    return [choose(route, unit).arm for unit in units]


@given(tables, salts, units)
def test_the_same_unit_always_meets_the_same_arm(table, salt, units):
    assert chosen(Route(table, salt=salt), units) == chosen(Route(dict(table), salt=salt), units)


@given(tables, salts, units, st.randoms(use_true_random=False))
def test_the_order_of_arms_does_not_matter(table, salt, units, random):
    shuffled = list(table.items())
    random.shuffle(shuffled)
    assert chosen(Route(table, salt=salt), units) == chosen(Route(dict(shuffled), salt=salt), units)


@given(tables, salts, units, st.data())
def test_raising_one_weight_only_moves_units_to_that_arm(table, salt, units, data):
    arm = data.draw(st.sampled_from(sorted(table)))
    raised = table | {arm: data.draw(st.floats(table[arm], 1e301))}
    assume(sum(raised.values()) > 0)
    before, after = chosen(Route(table, salt=salt), units), chosen(Route(raised, salt=salt), units)
    assert all(now in (then, arm) for then, now in zip(before, after, strict=True))


@given(tables, salts, units, names)
def test_a_new_arm_takes_units_and_moves_no_others(table, salt, units, arm):
    assume(arm not in table)
    before, after = chosen(Route(table, salt=salt), units), chosen(Route(table | {arm: 1.0}, salt=salt), units)
    assert all(now in (then, arm) for then, now in zip(before, after, strict=True))


@given(tables, salts, units)
def test_an_arm_of_weight_zero_is_never_chosen(table, salt, units):
    assert all(table[arm] > 0 for arm in chosen(Route(table, salt=salt), units))


@given(tables, salts, units, names)
def test_a_shadow_changes_no_answer(table, salt, units, arm):
    assume(not table.get(arm))
    route = Route(table, salt=salt)
    assert chosen(route, units) == chosen(replace(route, shadows=(arm,)), units)


@given(st.floats(0, 100), st.floats(0, 100), units)
def test_a_growing_canary_gives_no_unit_back(one, other, units):
    small, large = (canary(stable="a", canary="b", percent=percent) for percent in sorted((one, other)))
    gone_back = [unit for unit in units if choose(small, unit).arm == "b" and choose(large, unit).arm == "a"]
    assert not gone_back


@given(tables, st.sampled_from([2.0, 0.5, 1024.0]), units)
def test_only_the_ratio_of_weights_matters(table, factor, units):
    # a wide margin from the smallest floats, where doubling is not exact
    assume(all(weight == 0 or weight > 1e-290 for weight in table.values()))
    route, scaled = Route(table), Route({arm: weight * factor for arm, weight in table.items()})
    assert chosen(route, units) == chosen(scaled, units)


@given(tables)
def test_shares_are_chances(table):
    route = Route(table)
    shares = [route.share(arm) for arm in route.weights]
    assert all(0 <= share <= 1 for share in shares)
    assert abs(sum(shares) - 1) < 1e-9


@given(tables, units)
def test_a_propensity_is_the_share_of_the_chosen_arm_and_never_zero(table, units):
    route = Route(table)
    for unit in units:
        choice = choose(route, unit)
        assert choice.propensity == route.share(choice.arm) > 0


@given(st.dictionaries(names, st.floats(0.01, 1), min_size=1, max_size=5), texts, st.data())
def test_a_unit_is_found_for_any_arm_that_answers(table, prefix, data):
    route, arm = Route(table), data.draw(st.sampled_from(sorted(table)))
    assert choose(route, unit_for(route, arm, prefix=prefix)).arm == arm
