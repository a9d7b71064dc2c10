"""The inner loops give, to the last bit, what ONNX Runtime, numpy and Python give; and take over nothing that leads astray."""

import math
import os
import subprocess
import sys
import zipfile
from array import array
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ekiben import locking
from ekiben.compiling.forest import constant, grow
from ekiben.compiling.nodes import Core, Table, links, trees
from ekiben.compiling.nodes.trees import LARGEST_32, Trees, taken_over
from ekiben.errors import PlanError
from ekiben.explainers._columns import _added
from ekiben.explainers.shapley import filling, tables
from ekiben.explainers.shapley.bins import Bins
from ekiben.explainers.shapley.branching import branches
from ekiben.explainers.shapley.filling import tabulated
from ekiben.loops import loops
from forests import forest_of, tree_of

ROOT = Path(__file__).parents[2]
N_FEATURES = 5
built = pytest.mark.skipif(loops is None, reason="ekiben was installed where there is no compiler")


def both_ways(monkeypatch, forest, leaves=None, *, narrow=False):
    """Give the same trees twice: by the inner loops, and by ONNX Runtime."""
    quick = Trees(Core(forest.n_features), forest, leaves, narrow=narrow)
    assert quick._taken is not None
    with monkeypatch.context() as without:
        without.setattr(trees, "loops", None)
        slow = Trees(Core(forest.n_features), forest, leaves, narrow=narrow)
        assert slow._taken is None
    return quick, slow


def odd_rows(forest, rng, n=200):
    """Give rows at thresholds, just beside them, beyond all of them, and with gaps."""
    rows = rng.normal(size=(n, forest.n_features))
    points = forest.threshold.astype(np.float64)
    at = rng.random(rows.shape) < 0.5
    rows[at] = rng.choice(np.concatenate([points, np.nextafter(points, -9), np.nextafter(points, 9)]), at.sum())
    rows[rng.random(rows.shape) < 0.1] = np.nan
    rows[rng.random(rows.shape) < 0.05] = -0.0
    rows[0], rows[1], rows[2] = 0.0, LARGEST_32, -LARGEST_32
    rows[3] = 5e-324
    return rows


@built
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("bits", "narrow"), [(32, False), (64, False), (64, True)])
@pytest.mark.parametrize("n_trees", [1, 8, 21])
def test_trees_add_up_to_the_same_bits(monkeypatch, bits, narrow, strict, n_trees):
    for seed in range(3):
        forest = forest_of(seed, n_trees=n_trees, n_splits=1 + 6 * seed, bits=bits, strict=strict)
        quick, slow = both_ways(monkeypatch, forest, narrow=narrow)
        rows = odd_rows(forest, np.random.default_rng(seed))
        wanted = slow.apply(rows)
        assert quick.apply(rows).tobytes() == wanted.tobytes()
        assert np.array([quick.summed(row) for row in rows.tolist()]).tobytes() == wanted.tobytes()
        assert np.array([slow.summed(row) for row in rows.tolist()]).tobytes() == wanted.tobytes()


@built
def test_leaves_that_are_rows_of_numbers_add_up_to_the_same_bits(monkeypatch):
    rng = np.random.default_rng(0)
    grown = [tree_of(rng, 6, N_FEATURES, i) for i in range(19)]
    n_leaves = sum(int((tree.left < 0).sum()) for tree in grown)
    numbered, start = [], 0
    for tree in grown:
        leaf = tree.left < 0
        tree.value[leaf] = np.arange(start, start := start + int(leaf.sum()))
        numbered.append(tree)
    forest = grow(numbered, n_features=N_FEATURES, n_targets=len(numbered), strict=False, bits=64)
    quick, slow = both_ways(monkeypatch, forest, rng.random((n_leaves, 3)), narrow=True)
    rows = odd_rows(forest, rng)
    assert quick.apply(rows).tobytes() == slow.apply(rows).tobytes()
    assert [quick.summed(row) for row in rows.tolist()] == [slow.summed(row) for row in rows.tolist()]


@built
def test_trees_whose_leaves_are_not_their_own_rows_are_left_to_the_engine():
    rng = np.random.default_rng(0)
    forest = grow([tree_of(rng, 3, N_FEATURES, 0)], n_features=N_FEATURES, n_targets=1, strict=False, bits=64)
    assert taken_over(forest, np.zeros((1, 2))) is None  # its leaves have numbers of their own, and name no row


@built
def test_a_row_may_be_any_sequence_of_any_numbers():
    forest = forest_of(1, n_splits=6)
    node = Trees(Core(N_FEATURES), forest, None, narrow=False)
    wanted = node.summed([1.0, 0.0, 3.0, 1.0, 2.0])
    assert node.summed((1, False, np.float64(3), True, 2)) == wanted
    assert node.summed(np.array([1, 0, 3, 1, 2], dtype=np.float32)) == wanted
    for row in ([1.0] * (N_FEATURES - 1), [1.0] * (N_FEATURES + 1), []):
        with pytest.raises(ValueError, match="one number for each feature"):
            node.summed(row)
    with pytest.raises(TypeError):
        node.summed([1.0, "a", 1.0, 1.0, 1.0])


def test_a_number_that_32_bits_cannot_hold_is_refused_by_both_ways(monkeypatch):
    forest = forest_of(1)
    ways = both_ways(monkeypatch, forest) if loops else [Trees(Core(N_FEATURES), forest, None, narrow=False)]
    for number in (1e39, -1e39, float("inf"), float("-inf")):
        rows = np.zeros((70, N_FEATURES))
        rows[67, 2] = number
        for node in ways:
            with pytest.raises(PlanError, match="32 bits"):
                node.summed(rows[67].tolist())
            with pytest.raises(PlanError, match="32 bits"):
                node.apply(rows)


@built
def test_threads_ask_the_same_trees_at_once():
    forest = forest_of(2, n_trees=40, n_splits=30)
    node = Trees(Core(N_FEATURES), forest, None, narrow=False)
    rows = odd_rows(forest, np.random.default_rng(0), n=5000)
    wanted = node.apply(rows).tobytes()
    with ThreadPoolExecutor(8) as pool:
        assert {each.tobytes() for each in pool.map(node.apply, [rows] * 32)} == {wanted}


# ── what leads astray


def arrays_of(forest):
    names = ("missing_true", "true_leaf", "true_id", "false_leaf", "false_id", "root", "leaf_target")
    whole = [getattr(forest, name).astype(np.int64) for name in names]
    weight = forest.leaf_weight.astype(np.float64)
    return [forest.feature.astype(np.int64), forest.threshold.astype(np.float64), *whole, weight, np.zeros(0)]


@built
@settings(max_examples=400, deadline=None)
@given(
    which=st.integers(0, 9),
    at=st.integers(0, 10_000),
    number=st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-3, 40)),
    cut=st.integers(0, 3),
)
def test_trees_that_lead_astray_are_refused_or_stay_within_their_arrays(which, at, number, cut):
    forest = forest_of(3, n_trees=4, n_splits=5)
    arrays = arrays_of(forest)
    if arrays[which].dtype == np.int64:
        arrays[which][at % len(arrays[which])] = number
    if cut:
        arrays[which] = arrays[which][:-cut]
    taken = None
    with suppress(ValueError):
        taken = loops.forest(N_FEATURES, forest.n_targets, False, tuple(arrays))
    if taken is not None:
        assert len(loops.row(taken, [0.0] * N_FEATURES)) == forest.n_targets


@built
@pytest.mark.parametrize(
    ("which", "number"), [(0, N_FEATURES), (0, -1), (2, 2), (3, -1), (4, -1), (4, 10**12), (6, -1), (7, 99), (8, 2)]
)
def test_trees_that_lead_astray_are_refused(which, number):
    forest = forest_of(3, n_trees=4, n_splits=5)
    arrays = arrays_of(forest)
    arrays[which][2] = number
    with pytest.raises(ValueError, match="must lead forward"):
        loops.forest(N_FEATURES, forest.n_targets, False, tuple(arrays))


@built
def test_trees_that_share_nodes_without_end_are_left_to_the_engine():
    n = 60  # each node leads to the next one by both ways: as a tree these are 2^60 nodes
    leaf = np.array([0] * (n - 1) + [1])
    after = np.array([*range(1, n), 0])
    zero = np.zeros(n, dtype=np.int64)
    one = np.zeros(1, dtype=np.int64)
    arrays = (zero, zero.astype(float), zero, leaf, after, leaf, after, one, one, np.ones(1), np.zeros(0))
    assert loops.forest(1, 1, False, arrays) is None


@built
def test_what_is_no_forest_is_no_forest():
    taken = taken_over(forest_of(0), None)
    for call in (
        lambda: loops.row(None, [0.0]),
        lambda: loops.row(taken),
        lambda: loops.rows(None, np.zeros(5), np.zeros(2)),
        lambda: loops.parts(taken, [0.0]),
        lambda: loops.rows(taken, np.zeros((1, N_FEATURES)), b"no room to write"),
        lambda: loops.forest(1, 1, False, ()),
        lambda: loops.forest(1, 1, False, (1,) * 11),
    ):
        with pytest.raises((TypeError, ValueError, BufferError)):
            call()
    with pytest.raises(ValueError, match="must fit the trees"):
        loops.rows(taken, np.zeros((2, N_FEATURES)), np.zeros((1, 2)))


# ── tables


def table_of(seed, *, bits=64, strict=False, single=False, players=(), **shape):
    forest = forest_of(seed, **{"n_trees": 30, "n_splits": 6, "bits": bits, "strict": strict} | shape)
    bins = Bins.of(forest, players)
    leaves = np.where(forest.leaf_target == 1, forest.leaf_weight, 0.0)
    with pytest.MonkeyPatch.context() as patched:
        if single:
            patched.setattr(filling, "EXACT_BYTES", 0)
        return forest, tabulated(branches(forest, leaves, bins), bins)


@built
@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("bits", [32, 64])
def test_what_features_add_is_the_same_to_the_bit(monkeypatch, bits, strict, single):
    for seed in range(3):
        forest, table = table_of(seed, bits=bits, strict=strict, single=single)
        assert (table.table.dtype == np.float32) == single
        rows = odd_rows(forest, np.random.default_rng(seed)).tolist()
        assert same_without(monkeypatch, table, rows)


def same_without(monkeypatch, table, rows):
    """Tell whether numpy gives what the inner loops give; `==` of lists takes 0.0 and -0.0 for the same, and bytes do not."""
    assert table._taken is not None
    quick = np.array([table.row(row) for row in rows]).tobytes()
    with monkeypatch.context() as without:
        without.setattr(tables, "loops", None)
        return np.array([table.row(row) for row in rows]).tobytes() == quick


@built
@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize(("n_features", "owned"), [(2, {2}), (9, {4, 5, 6, 7}), (12, {4, 5, 6, 7, 8})])
def test_branches_of_any_number_of_features_add_the_same_to_the_bit(monkeypatch, n_features, owned, single):
    forest, table = table_of(1, single=single, n_features=n_features, n_trees=150, n_splits=8)
    n_owned = (table.owners.reshape(len(table.begins), -1) < n_features).sum(axis=1)
    assert (np.diff(n_owned) <= 0).all()  # those of as many features are next to each other
    assert owned <= set(n_owned.tolist())
    assert same_without(monkeypatch, table, odd_rows(forest, np.random.default_rng(0), 50).tolist())


@built
@pytest.mark.parametrize("single", [False, True])
def test_more_players_than_a_byte_counts_add_the_same_to_the_bit(monkeypatch, single):
    forest, table = table_of(1, single=single, players=[0, 255, 256, 257, 70_000])
    rows = odd_rows(forest, np.random.default_rng(0), 50).tolist()
    assert same_without(monkeypatch, table, rows)
    plain = table_of(1, single=single)[1]
    assert [table.row(row)[256:258] for row in rows] == [plain.row(row)[2:4] for row in rows]


@built
def test_tables_that_were_packed_in_any_order_of_branches_add_up_as_well(monkeypatch):
    forest, table = table_of(1, n_features=9, n_trees=60, n_splits=8)
    order = np.random.default_rng(0).permutation(len(table.begins))
    slots, owners = (each.reshape(len(order), -1)[order].ravel() for each in (table.slots, table.owners))
    mixed = replace(table, slots=slots, begins=table.begins[order], owners=owners)
    rows = odd_rows(forest, np.random.default_rng(0), 50).tolist()
    assert same_without(monkeypatch, mixed, rows)
    np.testing.assert_allclose(
        [mixed.row(row) for row in rows], [table.row(row) for row in rows], rtol=1e-12, atol=1e-13
    )


def test_large_tables_are_kept_in_32_bits_and_small_ones_in_64():
    small, large = table_of(1)[1], table_of(1, n_features=9, n_trees=150, n_splits=8)[1]
    assert small.table.nbytes <= filling.EXACT_BYTES < 2 * large.table.nbytes
    assert (small.table.dtype, large.table.dtype) == (np.float64, np.float32)


@built
@settings(max_examples=300, deadline=None)
@given(
    which=st.integers(0, 6),
    at=st.integers(0, 10_000),
    number=st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-3, 3000)),
    cut=st.integers(0, 2),
    short=st.integers(0, 2),
)
def test_tables_that_lead_astray_are_refused_or_stay_within_their_arrays(which, at, number, cut, short):
    _, found = table_of(0)
    bins = found.bins
    parts = [
        np.concatenate(bins.edges),
        np.array([len(each) for each in bins.edges], dtype=np.int64),
        np.concatenate([each.ravel() for each in found.answers]),
        np.array([each.shape[1] for each in found.answers], dtype=np.int64),
        *(each.astype(np.int64) for each in (found.slots, found.begins, found.owners)),
    ]
    if parts[which].dtype == np.int64:
        parts[which] = parts[which].copy()
        parts[which][at % len(parts[which])] = number
    if cut:
        parts[which] = parts[which][:-cut]
    table = found.table[: len(found.table) - short]
    taken = None
    with suppress(ValueError):
        taken = loops.tables(found.n_players, False, False, False, table, tuple(parts))
    for row in ([0.0] * N_FEATURES, [9.0] * N_FEATURES, [float("nan")] * N_FEATURES) if taken else ():
        assert len(loops.parts(taken, row)) == found.n_players


@built
def test_a_row_that_does_not_fit_the_tables_is_refused():
    _, found = table_of(0)
    for row in ([0.0], [0.0] * (N_FEATURES + 1), ()):
        with pytest.raises(ValueError, match="one number for each feature"):
            loops.parts(found._taken, row)
    for row in (["a"] * N_FEATURES, None):
        with pytest.raises(TypeError):
            loops.parts(found._taken, row)
    with pytest.raises(TypeError, match="parts"):
        loops.parts(found._taken)


# ── sums of weighed features


@built
@settings(max_examples=200, deadline=None)
@given(data=st.data(), n=st.integers(0, 12), n_totals=st.integers(1, 4))
def test_weighed_features_add_up_to_the_same_bits(data, n, n_totals):
    numbers = st.one_of(st.just(0.0), st.just(-1.0), st.floats(width=64))
    row, weights = (data.draw(st.lists(numbers, min_size=n, max_size=n)) for _ in range(2))
    places = data.draw(st.lists(st.integers(0, n_totals - 1), min_size=n, max_size=n))
    starts, base = data.draw(st.lists(numbers, min_size=n_totals, max_size=n_totals)), data.draw(numbers)
    told = (array("d", weights).tobytes(), array("q", places).tobytes(), array("d", starts).tobytes())
    expected = _added(row, weights, places, starts, base)
    for given_row in (row, tuple(row)):
        assert repr(loops.folded(given_row, *told, base)) == repr(expected)


@built
def test_a_row_that_does_not_fit_its_weights_is_refused():
    one, none, place = array("d", [2.0]).tobytes(), b"", array("q", [0]).tobytes()
    assert loops.folded([3], one, place, one, 1.0) == (7.0, [8.0])
    for row, weights, places, totals in (
        ([1.0, 1.0], one, place, one),
        ([1.0], none, place, one),
        ([1.0], one, place[:-1], one),
        ([1.0], one, place, one[:-1]),
        ([1.0], one, place, none),
        ([1.0], one, array("q", [1]).tobytes(), one),
        ([1.0], one, array("q", [-1]).tobytes(), one),
    ):
        with pytest.raises(ValueError, match=r"A row must have|A place must be"):
            loops.folded(row, weights, places, totals, 0.0)
    for call in (lambda: loops.folded(["a"], one, place, one, 0.0), lambda: loops.folded(7, one, place, one, 0.0)):
        with pytest.raises(TypeError):
            call()


# ── where they are not built


WITHOUT = """
import sys
sys.modules["ekiben._loops"] = None
import numpy as np
from ekiben.compiling.nodes import Core
from ekiben.compiling.nodes.trees import Trees
from ekiben.loops import loops
from forests import forest_of
assert loops is None
node = Trees(Core(5), forest_of(4, n_trees=9, n_splits=9), None, narrow=False)
print(node.apply(np.random.default_rng(0).normal(size=(50, 5))).tobytes().hex())
"""


def test_without_them_the_engine_answers_the_same():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "sdk"), str(ROOT / "tests")])}
    told = subprocess.run([sys.executable, "-c", WITHOUT], env=environment, capture_output=True, text=True, check=True)
    node = Trees(Core(N_FEATURES), forest_of(4, n_trees=9, n_splits=9), None, narrow=False)
    assert told.stdout.strip() == node.apply(np.random.default_rng(0).normal(size=(50, 5))).tobytes().hex()


def test_without_them_and_without_the_engine_trees_are_refused_where_they_are_read():
    """A service reads its plans when it starts: it must not start and answer nothing."""
    without = WITHOUT.replace("import numpy", 'sys.modules["onnxruntime"] = None\nimport numpy', 1)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "sdk"), str(ROOT / "tests")])}
    told = subprocess.run([sys.executable, "-c", without], env=environment, capture_output=True, text=True, check=False)
    assert told.returncode != 0
    assert "in __init__" in told.stderr
    assert "inner loops do not load here (import of ekiben._loops halted" in told.stderr
    assert "onnxruntime must be installed. It is not." in told.stderr


@built
def test_with_them_no_engine_is_started(monkeypatch):
    monkeypatch.setattr(trees, "session", lambda _data: pytest.fail("ONNX Runtime was asked"))
    node = Trees(Core(N_FEATURES), forest_of(0), None, narrow=False)
    node.summed([0.0] * N_FEATURES)
    node.apply(np.full((3, N_FEATURES), np.nan))


@built
def test_a_bento_carries_them_with_their_source(tmp_path):
    with zipfile.ZipFile(locking.write_wheel(tmp_path)) as wheel:
        assert {"ekiben/_loops.abi3.so", "ekiben/_loops.c"} <= {*wheel.namelist()}


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["cc", "false", "no-such-compiler"])
def test_a_wheel_is_built_with_a_compiler_and_without(compiler, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    copied(ROOT / "sdk", source / "sdk")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).symlink_to(ROOT / name)
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path / "made")],
        cwd=source,
        env=os.environ | {"CC": compiler},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "made").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        holds = "ekiben/_loops.abi3.so" in archive.namelist()
    if compiler == "cc" and loops is not None:
        assert holds
        assert "-cp311-abi3-" in wheel.name
    elif compiler != "cc":
        assert not holds
        assert wheel.name.endswith("-py3-none-any.whl")
        assert "without its inner loops" in done.stdout + done.stderr


def copied(source, target):
    """Copy a folder without what was compiled in it."""
    for path in source.rglob("*"):
        if path.is_file() and path.suffix not in (".pyc", ".so"):
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())


def test_one_leaf_for_every_row_is_a_tree():
    forest = grow([constant(0.25), constant(0.5)], n_features=1, n_targets=1, strict=False, bits=64)
    node = Trees(Core(1), forest, None, narrow=False)
    assert node.summed([float("nan")]) == [0.75]
    assert node.apply(np.zeros((2, 1))).tolist() == [[0.75], [0.75]]


# ── powers of e ─────────────────────────────────────────────────────────────────────────────────────────────────────

ODD = [0.0, -0.0, 1.0, -1.0, 709.7, 709.8, 1e308, -708.4, -745.2, -1e308, math.inf, -math.inf, math.nan, 5e-324, 1e-17]


def margins(n=3000):
    """Give numbers of every size, and odd ones, three a row."""
    rng = np.random.default_rng(8)
    return np.concatenate([np.array(ODD), rng.normal(size=n) * 10.0 ** rng.integers(-8, 4, n)]).reshape(-1, 3)


@built
def test_powers_are_those_of_python():
    numbers = margins().ravel()
    made = numbers.copy()
    loops.powers(made)
    assert made.tobytes() == np.array([links.exp(number) for number in numbers.tolist()]).tobytes()
    for unfit in ([1.0], np.frombuffer(bytes(8))):  # no array, and one that nobody may write to
        with pytest.raises(TypeError):
            loops.powers(unfit)


@pytest.mark.parametrize("node", [links.Sigmoid, links.Softmax, links.Power])
@pytest.mark.parametrize("with_loops", [pytest.param(True, marks=built), False])
def test_many_rows_get_the_chances_that_each_gets_alone(monkeypatch, node, with_loops):
    if not with_loops:
        monkeypatch.setattr(links, "loops", None)
    rows = margins()
    with np.errstate(all="ignore"):
        together = node(Core(3)).block(Table(rows, len(rows)))
    alone = np.array([node(Core(3)).row(row) for row in rows.tolist()])
    np.testing.assert_array_equal(together, alone)  # a number that is none has no bits of its own
    assert np.isfinite(together).sum() > 2900
