"""The trees' file is ONNX that any tool reads, and nothing else is ever read from one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekiben.compiling.forest import Forest, check, decode, encode
from ekiben.errors import IntegrityError
from forests import forest_of

FILE = encode(forest_of())


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("strict", [True, False])
def test_the_file_is_onnx_that_its_checker_accepts(bits, strict):
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(encode(forest_of(bits=bits, strict=strict)))
    onnx.checker.check_model(model, full_check=True)
    (node,) = model.graph.node
    assert (node.domain, node.op_type) == ("ai.onnx.ml", "TreeEnsemble")


@given(
    seed=st.integers(0, 2**32 - 1),
    n_trees=st.integers(1, 6),
    n_splits=st.integers(0, 8),
    bits=st.sampled_from([32, 64]),
    strict=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_what_is_written_is_read_back(seed, n_trees, n_splits, bits, strict):
    forest = forest_of(seed, n_trees=n_trees, n_splits=n_splits, bits=bits, strict=strict)
    found = decode(encode(forest))
    for name in {*Forest.__dataclass_fields__} - {"cover", "leaf_cover"}:  # for these ONNX has no place
        np.testing.assert_array_equal(getattr(found, name), getattr(forest, name))


def _refused_or_whole(data):
    """See that bytes are refused in one word, or lead on wherever they lead."""
    try:
        forest = decode(data)
    except IntegrityError:
        return
    check(forest)
    assert encode(forest) == data


@given(at=st.integers(0, len(FILE) * 8 - 1))
@settings(max_examples=400, deadline=None)
def test_a_flipped_bit_is_refused_or_only_changes_a_number(at):
    data = bytearray(FILE)
    data[at // 8] ^= 1 << at % 8
    _refused_or_whole(bytes(data))


@given(places=st.lists(st.tuples(st.integers(0, len(FILE) - 1), st.integers(0, 255)), min_size=1, max_size=6))
@settings(max_examples=300, deadline=None)
def test_changed_bytes_are_refused_or_only_change_numbers(places):
    data = bytearray(FILE)
    for at, byte in places:
        data[at] = byte
    _refused_or_whole(bytes(data))


@given(end=st.integers(0, len(FILE) - 1), more=st.binary(max_size=8))
@settings(max_examples=200, deadline=None)
def test_a_file_that_was_cut_or_went_on_is_refused(end, more):
    if (other := FILE[:end] + more) != FILE:
        with pytest.raises(IntegrityError):
            decode(other)
    if more:
        with pytest.raises(IntegrityError):
            decode(FILE + more)


@given(data=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_other_bytes_are_refused(data):
    with pytest.raises(IntegrityError):
        decode(data)


WAYS = ("true_leaf", "true_id", "false_leaf", "false_id", "feature", "root", "leaf_target", "mode", "missing_true")


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("value", [255, 10_000, 2**31, 2**62])
def test_a_way_out_of_range_is_refused(name, value):
    forest = forest_of()
    values = getattr(forest, name).copy()
    values[-1] = min(value, np.iinfo(values.dtype).max)
    with pytest.raises(IntegrityError):
        decode(encode(_with(forest, name, values)))


@pytest.mark.parametrize("name", ["true_id", "false_id"])
def test_a_way_back_is_refused(name):
    forest = forest_of()
    inner = np.nonzero(getattr(forest, name.replace("id", "leaf")) == 0)[0]
    values = getattr(forest, name).copy()
    values[inner[-1]] = inner[-1]
    with pytest.raises(IntegrityError, match="forward"):
        decode(encode(_with(forest, name, values)))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["threshold", "leaf_weight"])
def test_a_number_that_is_not_finite_is_refused(name, number):
    forest = forest_of()
    values = getattr(forest, name).copy()
    values[0] = number
    with pytest.raises(IntegrityError):
        decode(encode(_with(forest, name, values)))


@pytest.mark.parametrize("name", ["n_features", "n_targets"])
def test_too_few_columns_are_refused(name):
    with pytest.raises(IntegrityError):
        decode(encode(_with(forest_of(), name, 1)))


def test_more_targets_than_leaves_are_refused():
    with pytest.raises(IntegrityError):
        decode(encode(_with(forest_of(), "n_targets", 2**40)))


def _with(forest, name, value):
    from dataclasses import replace

    return replace(forest, **{name: value})
