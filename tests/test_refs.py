import pickle
import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ekiben.errors import SpecError
from ekiben.refs import ModelRef, parse

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}", fullmatch=True)
aliases = st.from_regex(r"[A-Za-z_][A-Za-z_-]{0,20}", fullmatch=True).filter(lambda alias: alias.lower() != "latest")
refs = st.one_of(
    st.builds(ModelRef, name=names, version=st.integers(1, 2**31 - 1)),
    st.builds(ModelRef, name=names, alias=aliases),
    st.builds(ModelRef, name=names, digest=st.from_regex("[0-9a-f]{12}", fullmatch=True)),
)


@given(refs)
def test_what_a_reference_writes_it_reads_back(ref):
    assert parse(str(ref)) == ref


@given(st.text())
def test_any_text_is_read_or_refused_by_name(text):
    for candidate in (text, f"models:/{text}", f"models:/m/{text}", f"models:/m@{text}", f"package:/{text}"):
        with suppress(SpecError):
            assert str(parse(candidate)) == candidate


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("models:/credit_risk/3", ModelRef(name="credit_risk", version=3)),
        ("models:/credit_risk@champion", ModelRef(name="credit_risk", alias="champion")),
        ("package:/credit_risk/0123abcd4567", ModelRef(name="credit_risk", digest="0123abcd4567")),
    ],
)
def test_the_three_forms_are_read(text, ref):
    assert parse(text) == ref
    assert str(ref) == text
    assert pickle.loads(pickle.dumps(ref)) == ref


def test_only_an_alias_moves():
    assert parse("models:/credit_risk/3").pinned
    assert parse("package:/credit_risk/0123abcd4567").pinned
    assert not parse("models:/credit_risk@champion").pinned


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("credit_risk/3", "Did you mean 'models:/credit_risk/3'?"),
        (" models:/credit_risk/3\n", "Did you mean 'models:/credit_risk/3'?"),
        ("model:/credit_risk/3", "Did you mean 'models:/credit_risk/3'?"),
        ("models://credit_risk/3", "Did you mean 'models:/credit_risk/3'?"),
        ("models:/credit_risk/v03", "Did you mean 'models:/credit_risk/3'?"),
        ("credit_risk:3", "Did you mean 'models:/credit_risk/3'?"),
        ("credit_risk@champion", "Did you mean 'models:/credit_risk@champion'?"),
        ("models:/credit_risk/Production", "Did you mean 'models:/credit_risk@Production'?"),
        ("package:/credit_risk/0123ABCD4567890", "Did you mean 'package:/credit_risk/0123abcd4567'?"),
        ("models:/credit_risk", "Add a version or an alias, such as 'models:/credit_risk/1'"),
        ("runs:/0123abcd/model", "Got 'runs:/0123abcd/model'."),
        ("models:/credit_risk/latest", "What is latest moves unseen: name a version, or an alias such as"),
        ("models:/credit_risk/0", "Got 'models:/credit_risk/0'."),
        ("models:/credit_risk/٣", "Got 'models:/credit_risk/٣'."),
        ("", "Got ''."),
        (3, "Got 3. Pass text."),
        (None, "Got None. Pass text."),
    ],
)
def test_another_shape_is_refused_with_the_nearest_one(text, hint):
    with pytest.raises(SpecError, match=re.escape(hint)) as caught:
        parse(text)
    assert "models:/<name>/<version>" in str(caught.value)


@pytest.mark.parametrize("name", ["", "3d", "a b", "a/b", "a@b", "crédit", "a\n", "../up", None])
def test_a_name_that_cannot_be_is_refused(name):
    with pytest.raises(SpecError, match=re.escape(f"Got {name!r}.")):
        ModelRef(name=name, version=1)


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ({}, "exactly one of 'version', 'alias' and 'digest'. Got none."),
        ({"version": 1, "alias": "a"}, "Got ['version', 'alias']."),
        ({"version": 0}, "The 'version' must be a whole number from 1 to 2147483647. Got 0."),
        ({"version": True}, "Got True."),
        ({"version": "3"}, "Got '3'."),
        ({"version": 2**31}, "Got 2147483648."),
        ({"alias": "a/b"}, "The 'alias' must be letters, digits, '_' or '-'. Got 'a/b'."),
        ({"alias": "Latest"}, "MLflow reserves those. Got 'Latest'."),
        ({"alias": "v2"}, "MLflow reserves those. Got 'v2'."),
        ({"digest": "0123"}, "The 'digest' must be the first 12 hex digits"),
        ({"digest": "0123ABCD4567"}, "in lower case. Got '0123ABCD4567'."),
    ],
)
def test_exactly_one_well_formed_way_to_say_which_is_asked(which, message):
    with pytest.raises(SpecError, match=re.escape(message)):
        ModelRef(name="credit_risk", **which)


def test_every_fault_of_a_reference_is_named_at_once():
    with pytest.raises(SpecError) as caught:
        ModelRef(name="3d", version=0)
    assert "'name'" in str(caught.value)
    assert "'version'" in str(caught.value)
