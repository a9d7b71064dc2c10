"""Decisions in files and in tables of Arrow: what the frame has, in constant memory."""

import json
import subprocess
import sys
import time

import pandas as pd
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

import ekiben as ek
from ekiben import recalling
from ekiben.errors import SpecError
from ekiben.recording.segments import Header
from ekiben.recording.writing import Recorder

ARMS = {"champion": ("models:/risk/1", "d1"), "challenger": ("models:/risk/2", "d2")}
ONE, TWO = b'{"label":"good","scores":{"bad":0.25,"good":0.75}}', b'{"label":"bad","scores":{"bad":1.0,"good":0.0}}'
START = (time.time_ns() // 10**9 + 3600) * 10**9  # younger than each segment that a test begins, and in whole seconds
READ = {
    ".csv": lambda path: pd.read_csv(path, parse_dates=["time"]),
    ".json": lambda path: pd.read_json(path, convert_dates=["time"]),
    ".parquet": pd.read_parquet,
}
EXACTLY = {  # without what pandas rounds when it reads
    ".csv": lambda path: pd.read_csv(path, float_precision="round_trip", dtype={"input.account": str}),
    ".json": lambda path: pd.DataFrame(json.loads(path.read_text()), dtype=object),
    ".parquet": lambda path: pq.read_table(path).to_pandas(integer_object_nulls=True),
}


def written(folder, n, *, columns=("age", "job"), row=(30, "cook"), first=0, step=2):
    """Write records whose times lie between those of others."""
    recorder = Recorder(folder, Header(service="risk", columns=columns, arms=ARMS))
    for i in range(n):
        ns = START + (step * i + first) * 1_000_000
        answers = b"[" + (ONE if i % 2 else TWO) + b"]"
        recorder.write((f"{first}-{i:09}", ns, "predict", "champion", "c-1", 0.5, 12.5, [row], answers))
    recorder.close()


@pytest.fixture
def folder(tmp_path):
    for worker in range(2):
        written(tmp_path / "risk", 3000, first=worker)
    return tmp_path / "risk"


@pytest.mark.parametrize("ending", READ)
def test_a_file_holds_what_the_frame_holds_in_the_same_order(folder, tmp_path, ending):
    out = tmp_path / f"out{ending}"
    assert recalling.write(folder, out) == 6000
    found, expected = READ[ending](out), ek.records(folder)
    found["time"] = found["time"].astype(expected["time"].dtype)
    assert expected["id"].is_unique
    assert_frame_equal(found, expected, check_dtype=False)
    assert [path.name for path in tmp_path.glob("out*")] == [out.name]


@pytest.mark.parametrize("ending", READ)
def test_a_file_holds_each_number_and_moment_in_full(tmp_path, ending):
    third = b'[{"value":0.3333333333333333}]'
    recorder = Recorder(tmp_path / "risk", Header(service="risk", columns=("rate", "account"), arms=ARMS))
    for i, row in enumerate([(0.1 + 0.2, 2**60 + 1), (1e-300, None)]):
        recorder.write((f"{i}", START + 123_456_789 + i, "predict", "champion", None, 0.5, 12.5, [row], third))
    recorder.close()
    recalling.write(tmp_path / "risk", tmp_path / f"out{ending}")
    found = EXACTLY[ending](tmp_path / f"out{ending}")
    assert found["output.value"].tolist() == [0.3333333333333333] * 2
    assert found["input.rate"].tolist() == [0.1 + 0.2, 1e-300]
    assert int(found["input.account"].iloc[0]) == 2**60 + 1
    moments = pd.to_datetime(found["time"], utc=True).astype("datetime64[ns, UTC]")
    assert moments.astype("int64").tolist() == [START + 123_456_789, START + 123_456_790]


def test_a_table_of_arrow_holds_what_the_frame_holds(folder):
    found = ek.records(folder, as_arrow=True)
    assert found.column("digest").type.index_type is not None
    plain = found.to_pandas().astype(dict.fromkeys(("endpoint", "arm", "model", "digest"), object))
    assert_frame_equal(plain, ek.records(folder), check_dtype=False)


@pytest.mark.parametrize("ending", READ)
def test_segments_of_several_contracts_have_the_columns_of_all(tmp_path, ending):
    written(tmp_path / "risk", 3, columns=("age",), row=(30,), first=0)
    written(tmp_path / "risk", 3, columns=("age", "job"), row=(1.5, "cook"), first=1)
    assert recalling.write(tmp_path / "risk", tmp_path / f"out{ending}") == 6
    found = READ[ending](tmp_path / f"out{ending}")
    assert found["input.age"].tolist() == [30, 1.5] * 3
    assert found["input.job"].isna().tolist() == [True, False] * 3


def test_a_column_that_is_hashed_from_some_day_on_becomes_one_of_texts(tmp_path):
    written(tmp_path / "risk", 2, columns=("age",), row=(30,), first=0)
    written(tmp_path / "risk", 2, columns=("age",), row=("ab12",), first=1000)
    assert ek.records(tmp_path / "risk", as_arrow=True).column("input.age").to_pylist() == ["30", "30", "ab12", "ab12"]
    recalling.write(tmp_path / "risk", tmp_path / "out.parquet")
    assert pd.read_parquet(tmp_path / "out.parquet")["input.age"].tolist() == ["30", "30", "ab12", "ab12"]


@pytest.mark.parametrize("ending", READ)
def test_no_decisions_are_a_file_without_rows(folder, tmp_path, ending):
    assert recalling.write(folder, tmp_path / f"out{ending}", since="2100-01-01") == 0
    assert len(READ[ending](tmp_path / f"out{ending}") if ending != ".json" else []) == 0
    assert ek.records(folder, since="2100-01-01", as_arrow=True).num_rows == 0


def test_a_file_of_another_form_is_refused(folder, tmp_path):
    with pytest.raises(SpecError, match=r"must end in \.csv, \.json, \.parquet\. Got 'out\.xls'\."):
        recalling.write(folder, tmp_path / "out.xls")


MOST = """
import sys
from pathlib import Path
from ekiben import recalling
recalling.write(sys.argv[1], Path(sys.argv[2]))
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the largest size of a process is read as Linux tells it")
def test_ten_times_as_many_decisions_take_as_much_memory(tmp_path):
    most_kib = []
    for n in (8_000, 80_000):
        written(tmp_path / f"risk{n}", n)
        command = [sys.executable, "-c", MOST, tmp_path / f"risk{n}", tmp_path / f"{n}.parquet"]
        most_kib.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert most_kib[1] < 1.15 * most_kib[0] + 8_000, most_kib
