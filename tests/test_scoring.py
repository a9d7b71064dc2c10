"""A file of many rows: the answers of `predict`, whatever stopped the run in between."""

import re
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import ekiben as ek
from ekiben.errors import SchemaError, SpecError
from ekiben.scoring import score


@pytest.fixture
def source(people, tmp_path):
    frame = pd.concat([people[0]] * 3, ignore_index=True).assign(customer=lambda f: [f"c-{i}" for i in range(len(f))])
    frame.to_parquet(tmp_path / "in.parquet", index=False)
    return tmp_path / "in.parquet"


def expected_of(package, source):
    frame = pd.read_parquet(source)
    return package.predict(frame[list(package.schema.names)])


@pytest.mark.parametrize("n_rows", [7, 100, 10_000])
def test_the_answers_are_those_of_predict(champion, source, tmp_path, n_rows):
    said = []
    done = score(champion, source, tmp_path / "out.parquet", n_rows=n_rows, progress=said.append)
    found, expected = pd.read_parquet(tmp_path / "out.parquet"), expected_of(champion, source)
    assert (done.rows, done.resumed, len(found)) == (len(expected), 0, len(expected))
    assert found["label"].tolist() == expected["label"].tolist()
    np.testing.assert_allclose(found.filter(like="score"), expected.filter(like="score"), rtol=1e-12)
    assert said[-1].startswith(f"{len(expected):,} rows answered")
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.parquet"]


def test_columns_are_kept_beside_the_answers(champion, source, tmp_path):
    score(champion, source, tmp_path / "out.parquet", keep=["customer", "age"])
    found, came = pd.read_parquet(tmp_path / "out.parquet"), pd.read_parquet(source)
    assert list(found)[:2] == ["customer", "age"]
    assert found["customer"].tolist() == came["customer"].tolist()


def test_no_kept_column_takes_the_name_of_another(champion, source, tmp_path):
    pd.read_parquet(source).assign(label=1, label_in=2).to_parquet(source)
    score(champion, source, tmp_path / "out.parquet", keep=["label", "label_in", "customer"])
    found = pd.read_parquet(tmp_path / "out.parquet")
    assert list(found)[:4] == ["label_in_in", "label_in", "customer", "label"]
    assert found[["label_in_in", "label_in"]].drop_duplicates().values.tolist() == [[1, 2]]


def test_csv_is_read_too(champion, source, tmp_path):
    pd.read_parquet(source).to_csv(tmp_path / "in.csv", index=False)
    score(champion, tmp_path / "in.csv", tmp_path / "a.parquet", n_rows=50)
    score(champion, source, tmp_path / "b.parquet", n_rows=50)
    assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), pd.read_parquet(tmp_path / "b.parquet"))


def test_what_is_kept_of_a_csv_comes_out_as_it_stood_there(champion, source, tmp_path):
    came = ["00123", "0", "1.50", "NA", "None", " x ", "1e5", "", "9007199254740993", "True"]
    ids = [came[i % len(came)] for i in range(len(pd.read_parquet(source)))]
    pd.read_parquet(source).assign(number=ids).to_csv(tmp_path / "in.csv", index=False)
    for n_rows in (10, 70):
        score(champion, tmp_path / "in.csv", tmp_path / "out.parquet", keep=["number", "age"], n_rows=n_rows)
        out = pd.read_parquet(tmp_path / "out.parquet")
        assert out["number"].tolist() == [each or None for each in ids]
        assert out["age"].tolist() == pd.read_parquet(source)["age"].tolist()


def test_csv_brings_back_the_frame_that_was_written(tmp_path):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "weight": rng.normal(size=500),
            "coat": rng.choice(["None", "NA", "long"], 500),
            "breed": rng.choice(["None", "rare"], 500),
            "year": pd.Categorical(rng.integers(2007, 2010, 500)),
        }
    )
    rows.loc[::5, ["weight", "breed", "year"]] = np.nan
    encode = OneHotEncoder(handle_unknown="ignore")
    columns = make_column_transformer((SimpleImputer(), ["weight"]), (encode, ["coat", "breed", "year"]))
    target = rows["weight"].fillna(7) + rows["coat"].eq("None") * 3 + rows["breed"].isna() + rows["year"].eq(2008) * 2
    package = ek.pack(make_pipeline(columns, LinearRegression()).fit(rows, target), name="cats", reference=rows)
    rows.to_csv(tmp_path / "in.csv", index=False)
    score(package, tmp_path / "in.csv", tmp_path / "out.parquet", n_rows=200)
    assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), package.predict(rows))


def test_an_empty_field_of_csv_is_missing_where_a_value_may_be_as_over_http(tmp_path):
    rows = pd.DataFrame({"cake": ["", "a cake", None, "NA"] * 25, "n": range(100)})
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LinearRegression()).fit(rows, range(100))
    package = ek.pack(model, name="cakes", reference=rows)
    rows.to_csv(tmp_path / "in.csv", index=False)
    score(package, tmp_path / "in.csv", tmp_path / "out.parquet")
    expected = package.predict(rows.assign(cake=rows["cake"].where(rows["cake"] != "", None)))
    assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), expected)


def last_digit(frame):
    return (frame["account"].fillna(0) % 10).astype(float)


def test_a_long_integer_of_csv_keeps_its_digits_beside_gaps(tmp_path):
    accounts = pd.array([*[5, None] * 20, *[2**53 + 1, None, 7] * 20], dtype="Int64")
    rows = pd.DataFrame({"account": accounts, "n": range(100)})
    package = ek.pack(last_digit, name="digits", reference=rows, target=np.arange(100.0) % 7)
    rows.to_csv(tmp_path / "in.csv", index=False)
    score(package, tmp_path / "in.csv", tmp_path / "out.parquet", n_rows=15)
    answers = pd.read_parquet(tmp_path / "out.parquet")
    assert_frame_equal(answers, package.predict(rows))
    assert (answers["value"] == 3).sum() == 20


def test_an_empty_field_of_csv_is_an_empty_text_where_the_column_must_hold_one(tmp_path):
    texts = ["", "a cake", "a pie", "NA"] * 25
    rows = pd.DataFrame({"weight": np.arange(100.0), "recipe": texts})
    words = TfidfVectorizer(token_pattern=r"\w+")
    model = make_pipeline(make_column_transformer((words, "recipe"), remainder="passthrough"), LinearRegression())
    package = ek.pack(model.fit(rows, range(100)), name="cakes", reference=rows)
    assert not package.schema["recipe"].nullable
    rows.to_csv(tmp_path / "in.csv", index=False)
    score(package, tmp_path / "in.csv", tmp_path / "out.parquet")
    assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), package.predict(rows))


def test_bytes_that_are_no_utf_8_are_refused_wherever_they_are(champion, source, tmp_path):
    rows = pd.concat([pd.read_parquet(source)] * 30)
    rows.to_csv(tmp_path / "in.csv", index=False)
    with (tmp_path / "in.csv").open("ab") as file:
        file.write(b"40,1,\xff,True,c\n")
    with pytest.raises(SpecError, match=r"The source must be a CSV in UTF-8. in.csv is not: .*can't decode byte 0xff"):
        score(champion, tmp_path / "in.csv", tmp_path / "out.parquet", n_rows=5_000)


@pytest.mark.parametrize(
    ("which", "says"),
    [
        (slice(None), "A line of CSV must have a field for each name of the first line. Those of in.csv have more."),
        (slice(1), "A line of CSV must have a field for each name of the first line. Those of in.csv have more."),
        (slice(30, 31), "The source must be a CSV in UTF-8. in.csv is not: "),
    ],
    ids=["every line", "the first line", "one line"],
)
def test_a_line_with_more_fields_than_names_is_refused(champion, source, tmp_path, which, says):
    pd.read_parquet(source).to_csv(tmp_path / "in.csv", index=False)
    head, *lines = (tmp_path / "in.csv").read_text().splitlines()
    lines[which] = [f"{line},7" for line in lines[which]]
    (tmp_path / "in.csv").write_text("\n".join([head, *lines]))
    with pytest.raises(SpecError, match=f"^{re.escape(says)}"):
        score(champion, tmp_path / "in.csv", tmp_path / "out.parquet", n_rows=20)
    assert not (tmp_path / "out.parquet").exists()


def test_a_run_that_stops_goes_on_and_gives_the_same_bytes(champion, source, tmp_path):
    def stop(words):
        if words.startswith("60 "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(champion, source, tmp_path / "a.parquet", n_rows=20, progress=stop)
    resumed = score(champion, source, tmp_path / "a.parquet", n_rows=20)
    whole = score(champion, source, tmp_path / "b.parquet", n_rows=20)
    assert (resumed.resumed, whole.resumed) == (60, 0)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_run_that_is_killed_goes_on_and_gives_the_same_bytes(champion, source, tmp_path):
    champion.save(tmp_path / "package")
    story = (
        "import sys, ekiben as ek; from ekiben.scoring import score\n"
        "told = []\n"
        "def progress(words):\n"
        "    told.append(words)\n"
        "    print(words, flush=True)\n"
        "    len(told) < 5 or sys.stdin.read()  # here it is when it is killed\n"
        "score(ek.load(sys.argv[1]), sys.argv[2], sys.argv[3], n_rows=5, progress=progress)\n"
    )
    command = [sys.executable, "-c", story, tmp_path / "package", source, tmp_path / "a.parquet"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        for _ in range(5):
            assert run.stdout.readline()
        run.send_signal(signal.SIGKILL)
    assert not (tmp_path / "a.parquet").exists()
    resumed = score(champion, source, tmp_path / "a.parquet", n_rows=5)
    score(champion, source, tmp_path / "b.parquet", n_rows=5)
    assert resumed.resumed >= 20
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_second_run_into_one_file_is_refused_and_harms_nothing(champion, source, tmp_path):
    refused = []

    def again(words):
        if not refused:
            with pytest.raises(SpecError, match=r"One run at a time may write a\.parquet") as told:
                score(champion, source, tmp_path / "a.parquet", n_rows=7)
            refused.append(told)

    score(champion, source, tmp_path / "a.parquet", n_rows=20, progress=again)
    score(champion, source, tmp_path / "b.parquet", n_rows=20)
    assert refused
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


@pytest.mark.parametrize("change", ["rows", "source", "package", "costs"])
def test_another_job_begins_anew(champion, challenger, source, tmp_path, change):
    def stop(words):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(champion, source, tmp_path / "out.parquet", n_rows=20, progress=stop)
    if change == "source":
        pd.read_parquet(source).iloc[::-1].to_parquet(source, index=False)
    package = challenger if change == "package" else champion
    if change == "costs":  # the same model, packed once more: of its plan and itself another may be the quicker one
        package = replace(champion, manifest={**champion.manifest, "costs": {**champion.manifest["costs"], "few": 1}})
    assert score(package, source, tmp_path / "out.parquet", n_rows=30 if change == "rows" else 20).resumed == 0


def test_a_row_that_does_not_fit_is_named_by_its_place_in_the_file(champion, source, tmp_path):
    frame = pd.read_parquet(source)
    frame["age"] = frame["age"].astype(float)
    frame.loc[47, "age"] = 0.5
    frame.to_parquet(source, index=False)
    with pytest.raises(SchemaError, match="Rows 40 to 59 of the file") as refused:
        score(champion, source, tmp_path / "out.parquet", n_rows=20)
    assert [fault.row for fault in refused.value.faults] == [47]
    assert str(refused.value).endswith("Got a number with a fraction in row 47.")


@pytest.mark.parametrize(
    ("column", "text", "got"),
    [
        ("age", "old", "a text"),
        ("income", "2,5", "a text"),
        ("member", "ja", "a text"),
        ("age", "9" * 30, "out of range"),
    ],
)
def test_one_field_of_csv_that_does_not_fit_is_named_and_those_beside_it_are_not(champion, source, column, text, got):
    frame = pd.read_parquet(source).astype({column: object})
    frame.loc[47, column] = text
    frame.to_csv(source.with_suffix(".csv"), index=False)
    with pytest.raises(SchemaError) as refused:
        score(champion, source.with_suffix(".csv"), source.with_name("out.parquet"), n_rows=20)
    assert [(fault.column, fault.row) for fault in refused.value.faults] == [(column, 47)]
    assert got in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("in.txt", "age\n1\n", "a file of Parquet or CSV"),
        ("in.parquet", "no parquet", "must be readable"),
        ("in.csv", "age\n1\n", "lacks"),
        ("nowhere.csv", None, "must be readable"),
    ],
)
def test_a_source_that_cannot_be_is_refused(champion, tmp_path, name, text, words):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(SpecError, match=words):
        score(champion, tmp_path / name, tmp_path / "out.parquet")


def test_a_source_without_rows_is_refused(champion, source, tmp_path):
    pd.read_parquet(source).head(0).to_parquet(source, index=False)
    with pytest.raises(SchemaError, match="at least one row"):
        score(champion, source, tmp_path / "out.parquet")
    assert not list(tmp_path.glob("out*"))


def test_a_source_is_not_written_over(champion, source, tmp_path):
    (tmp_path / "beside.parquet").symlink_to(source)
    came = source.read_bytes()
    for out in (source, tmp_path / "beside.parquet"):
        with pytest.raises(SpecError, match="another file than the source"):
            score(champion, source, out)
    assert source.read_bytes() == came


def test_what_is_written_must_be_parquet(champion, source, tmp_path):
    with pytest.raises(SpecError, match=r"name it out\.parquet"):
        score(champion, source, tmp_path / "out.csv")
