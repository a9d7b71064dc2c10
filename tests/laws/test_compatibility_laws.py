"""What the comparison of two contracts promises holds for the rows themselves."""

from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from ekiben import codecs
from ekiben.compatibility import compare, union
from ekiben.errors import SchemaError, SpecError
from ekiben.schema import Column, Schema, aliased
from ekiben.values import misfit

NAMES = ("a", "b", "loan amount")
bounds = st.none() | st.sampled_from([-5, 0, 1, 200])
dates = st.none() | st.sampled_from(["2020-01-01", "2024-06-01T10:00:00"])


def in_order(column):
    low, high = column.minimum, column.maximum
    return low is None or high is None or low <= high


@cache  # a strategy is made once, and drawn from often
def columns(name):
    every = {
        "name": st.just(name),
        "nullable": st.booleans(),
        "alias": st.none() | st.sampled_from(["x", "loan_amount"]),
    }
    numeric = st.builds(
        Column,
        kind=st.sampled_from(["number", "integer"]),
        dtype=st.sampled_from(["int8", "uint8", "int64", "float32", "float64"]),
        minimum=bounds,
        maximum=bounds,
        **every,
    )
    seen = st.none() | st.sets(st.sampled_from(["a", "b", "2024-01-01"]), min_size=1).map(lambda t: tuple(sorted(t)))
    policy = st.sampled_from(["accept", "refuse"])
    text = st.builds(Column, kind=st.just("text"), dtype=st.just("object"), categories=seen, unseen=policy, **every)
    labels = st.sets(st.sampled_from([0, 1, 300]), min_size=1) | st.sets(st.sampled_from(["a", "b"]), min_size=1)
    category = st.builds(
        Column,
        kind=st.just("category"),
        dtype=st.just("category"),
        categories=labels.map(lambda found: tuple(sorted(found))),
        unseen=st.just("refuse"),
        **every,
    )
    dated = st.builds(
        Column,
        kind=st.just("datetime"),
        dtype=st.sampled_from(["datetime64[ns]", "datetime64[s]"]),
        minimum=dates,
        maximum=dates,
        **every,
    )
    zoned = st.builds(Column, kind=st.just("datetime"), dtype=st.just("datetime64[us, UTC]"), **every)
    days = st.builds(Column, kind=st.just("datetime"), dtype=st.just("object"), items=st.just("date"), **every)
    listed = st.builds(
        Column,
        kind=st.just("list"),
        dtype=st.just("object"),
        length=st.sampled_from([1, 2]),
        items=st.sampled_from(["number", "integer"]),
        holder=st.sampled_from(["list", "int8", "float32"]),
        **every,
    ) | st.builds(
        Column,
        kind=st.just("list"),
        dtype=st.just("object"),
        length=st.sampled_from([1, 2]),
        items=st.just("text"),
        holder=st.just("list"),
        **every,
    )
    boolean = st.builds(Column, kind=st.just("boolean"), dtype=st.just("bool"), **every)
    return (numeric | text | category | dated | zoned | days | listed | boolean).filter(in_order)


@st.composite
def schemas(draw, base=None):
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    made = []
    for name in names:
        kept = base is not None and name in base.names and draw(st.booleans())
        made.append(base[name] if kept else draw(columns(name)))
    return Schema(columns=aliased(made), extra=draw(st.sampled_from(["refuse", "ignore"])))


@st.composite
def pairs(draw):
    old = draw(schemas())
    return old, draw(schemas(old) | st.just(old))


VALUES = [
    None,
    True,
    0,
    1,
    -6,
    150,
    199.5,
    300,
    2**40,
    1e30,
    1e300,
    "a",
    "b",
    "z",
    "2024-01-01",
    "2019-12-31T23:59:59",
    "2024-01-01T10:00:00.5",
    "2024-01-01T10:00:00Z",
    "3000-01-01",
    [1],
    [1, 2],
    [0.5, 1],
    [300, 1],
    ["a", "b"],
]
values = st.sampled_from(VALUES)


@st.composite
def rows(draw, schema):
    row = {}
    for column in schema.columns:
        fitting = [value for value in (*VALUES, *(column.categories or ())) if misfit(column, value) is None]
        key = draw(st.sampled_from([column.name, column.alias])) if column.alias else column.name
        row[key] = draw(st.sampled_from(fitting or VALUES))
    if draw(st.booleans()):
        row[draw(st.sampled_from([*NAMES, "x", "loan_amount", "more"]))] = draw(values)
    return row


def fits(row, schema):
    try:
        codecs.columns_of([row], schema)
    except SchemaError:
        return False
    return True


@settings(max_examples=150)
@given(pairs(), st.data())
def test_what_widened_takes_every_row_that_it_took(pair, data):
    old, new = pair
    change = compare(old, new)
    row = data.draw(rows(old))
    if change.verdict != "breaking" and fits(row, old):
        assert fits(row, new), (str(change), row)


@given(pairs(), st.data())
def test_a_row_that_is_refused_now_has_a_difference_of_its_column_to_explain_it(pair, data):
    old, new = pair
    row = data.draw(rows(old))
    if not fits(row, old) or fits(row, new):
        return
    try:
        codecs.columns_of([row], new)
    except SchemaError as error:
        breaking = [each for each in compare(old, new).differences if each.verdict == "breaking"]
        assert breaking
        named = {fault.column for fault in error.faults if fault.column is not None}
        assert named <= {each.column for each in breaking}


@given(schemas())
def test_a_contract_is_the_same_as_itself_whatever_was_seen(schema):
    assert compare(schema, schema).verdict == "same"
    assert compare(schema, schema).differences == ()


@given(pairs())
def test_there_and_back_cannot_both_be_wider(pair):
    old, new = pair
    there, back = compare(old, new), compare(new, old)
    assert (there.verdict == "same") == (back.verdict == "same")


@given(pairs(), st.data())
def test_what_a_union_takes_every_arm_takes_in_its_own_columns(pair, data):
    try:
        joined = union(*pair)
    except SpecError:
        return
    row = data.draw(rows(joined))
    if not fits(row, joined):
        return
    taken = codecs.columns_of([row], joined)
    for arm in pair:
        assert fits({name: taken[name][0] for name in arm.names}, arm), (joined, arm)


@given(pairs())
def test_each_column_of_an_arm_only_narrows_in_the_union(pair):
    try:
        joined = union(*pair)
    except SpecError:
        return
    for arm in pair:
        for column in arm.columns:
            one = (Schema(columns=(made,)) for made in (joined[column.name], column))
            breaking = [
                each for each in compare(*one).differences if each.verdict == "breaking" and each.what != "alias"
            ]
            assert breaking == []
