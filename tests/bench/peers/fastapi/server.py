"""FastAPI by hand: typed rows, one endpoint a model, plain `def` so that the model runs in the thread pool."""

import os
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel

FOLDER = Path(os.environ["MODELS"])
MODELS = {key: joblib.load(FOLDER / key / "model.joblib") for key in os.environ["SERVES"].split(",")}

app = FastAPI()


class Person(BaseModel):
    age: float
    weight: float
    years_of_school: float
    gain: float
    loss: float
    hours_per_week: float
    tenure: float
    balance: float
    work: str
    school: str
    occupation: str
    country: str


class Application(BaseModel):
    Seniority: int
    Home: str | None
    Time: int
    Age: int
    Marital: str | None
    Records: str
    Job: str | None
    Expenses: int
    Income: float | None
    Assets: float | None
    Debt: float | None
    Amount: int
    Price: int


class People(BaseModel):
    rows: list[Person]


class Applications(BaseModel):
    rows: list[Application]


class Floats(BaseModel):
    rows: list[list[float]]


class Answer(BaseModel):
    probabilities: list[float]


def answer(key, table):
    return Answer(probabilities=MODELS[key].predict_proba(table)[:, 1].tolist())


def framed(rows):
    return pd.DataFrame([row.model_dump() for row in rows])


@app.get("/ready")
def ready() -> str:
    return "ready"


@app.post("/a")
def a(asked: People) -> Answer:
    return answer("a", framed(asked.rows))


@app.post("/b")
def b(asked: Floats) -> Answer:
    return answer("b", np.array(asked.rows, np.float32))


@app.post("/c")
def c(asked: Applications) -> Answer:
    return answer("c", framed(asked.rows))


@app.post("/d")
def d(asked: People) -> Answer:
    return answer("d", framed(asked.rows))
