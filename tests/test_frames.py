"""A batch of Arrow as a frame of the contract: what `conform` would have made, and its faults."""

import io

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from ekiben import tables
from ekiben.arrow import frames
from ekiben.errors import SchemaError

FITTING = {
    "float64": pd.Series([1.5, None, 2.0]),
    "float32": pd.Series([1.5, None, 2.0], dtype="float32"),
    "int64": pd.Series([1, 2, 3]),
    "uint8": pd.Series([1, 2, 255], dtype="uint8"),
    "bool": pd.Series([True, False, True]),
    "texts": pd.Series(["a", "b", "a"]),
    "texts with None": pd.Series(["a", None, "a"]),
    "texts with NaN": pd.Series(["a", float("nan"), "a"]),
    "category": pd.Series(["b", None, "a"], dtype="category"),
    "string": pd.Series(["b", None, "a"], dtype="string"),
    "Int64": pd.Series([1, None, 3], dtype="Int64"),
    "dates": pd.to_datetime(pd.Series(["2026-01-01", None, "2026-01-03"])),
    "lists": pd.Series([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
}


def batches_of(frame, n_groups=1):
    """Read a frame as a scored file is read: its texts as dictionaries."""
    sink = io.BytesIO()
    frame.to_parquet(sink, index=False, row_group_size=max(1, len(frame) // n_groups))
    schema, table = tables.learn(frame), pq.read_schema(sink)
    with pq.ParquetFile(sink, read_dictionary=frames.repeated(table, schema)) as file:
        yield from file.iter_batches(batch_size=2)


@pytest.mark.parametrize("name", FITTING)
def test_a_batch_of_arrow_becomes_the_frame_that_conform_makes(name):
    frame = pd.DataFrame({"x": FITTING[name], "n": [1, 2, 3]})
    schema = tables.learn(frame)
    found = pd.concat([frames.fitted(batch, schema) for batch in batches_of(frame)], ignore_index=True)
    expected = pd.concat([tables.conform(frame[:2], schema), tables.conform(frame[2:], schema)], ignore_index=True)
    assert_frame_equal(found, expected)
    gaps = found["x"].map(lambda value: type(value).__name__)[found["x"].isna()].tolist()
    assert gaps == expected["x"].map(lambda value: type(value).__name__)[expected["x"].isna()].tolist()


@pytest.mark.parametrize("name", [name for name in FITTING if name != "lists"])
def test_what_a_model_does_to_its_frame_is_not_done_to_what_came(name):
    for frame in (pd.DataFrame({"x": FITTING[name]}), pd.DataFrame({"x": FITTING[name], "y": FITTING[name]})):
        schema, came = tables.learn(frame), frame.copy(deep=True)
        batch = pa.RecordBatch.from_pandas(frame, preserve_index=False)
        for made in (tables.conform(frame, schema), frames.fitted(batch, schema)):
            for column in made:
                cells = made[column].array
                cells[:2] = cells[1:].copy()
        assert_frame_equal(frame, came)
        assert batch.equals(pa.RecordBatch.from_pandas(came, preserve_index=False))


@pytest.mark.parametrize("n_groups", [1, 3, 7])
def test_texts_are_those_of_their_rows_in_every_row_group(n_groups):
    frame = pd.DataFrame({"x": [f"text {i * i % 13}" for i in range(50)]})
    found = [frames.fitted(batch, tables.learn(frame)) for batch in batches_of(frame, n_groups)]
    assert pd.concat(found)["x"].tolist() == frame["x"].tolist()


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("age", [30, 17, 41]),
        ("age", [30, None, 41]),
        ("age", [30.5, 31.0, 41.0]),
        ("share", [0.5, float("inf"), 0.1]),
        ("share", [0.5, None, 0.1]),
        ("job", ["cook", "pilot", "nurse"]),
        ("job", ["cook", None, "nurse"]),
        ("job", [1, 2, 3]),
    ],
)
def test_what_does_not_fit_is_told_of_a_batch_as_of_a_frame(column, values):
    whole = pd.DataFrame({"age": [30, 18, 41], "share": [0.5, 0.2, 0.1], "job": ["cook", "nurse", "nurse"]})
    schema = tables.learn(whole).edit("age", minimum=18).edit("job", unseen="refuse")
    frame = whole.assign(**{column: values})
    batch = pa.RecordBatch.from_pandas(frame)
    if column != "job" or isinstance(values[0], str):
        batch = batch.set_column(2, "job", batch["job"].dictionary_encode())
    with pytest.raises(SchemaError) as expected:
        tables.conform(frame, schema)
    with pytest.raises(SchemaError) as found:
        frames.fitted(batch, schema)
    assert (str(found.value), found.value.faults) == (str(expected.value), expected.value.faults)


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64()])
def test_integers_of_many_digits_are_whole_beside_gaps(kind):
    numbers = [2**53 + 1, None, 2**63 - 1, 3]
    schema = tables.learn(pd.DataFrame({"x": pd.Series(numbers, dtype="Int64"), "n": range(4)}))
    batch = pa.RecordBatch.from_pydict({"n": [0, 1, 2, 3], "x": pa.array(numbers, kind)})
    assert frames.fitted(batch, schema)["x"].astype(object).tolist() == [2**53 + 1, pd.NA, 2**63 - 1, 3]
