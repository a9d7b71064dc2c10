"""A route is a value: canary, split and shadow, who sticks to which arm, and why raising a canary moves nobody back."""

from collections import Counter
from dataclasses import replace

import ekiben as ek
from ekiben.routing import choose

UNITS = [f"customer-{n}" for n in range(20_000)]


def arms(route):
    return [choose(route, unit).arm for unit in UNITS]


def main():
    canary = ek.canary(stable="champion", canary="challenger", percent=10)
    routes = {
        "canary": canary,
        "A/B/C test": ek.split(a=2, b=1, c=1),
        "shadow": ek.shadow(live="champion", shadows=["challenger"]),
        "one arm": ek.only("champion"),
    }
    for name, route in routes.items():
        counts = ", ".join(f"{arm} {n:,}" for arm, n in sorted(Counter(arms(route)).items()))
        print(f"{name:<11} {route}\n{'':<11} of {len(UNITS):,} units: {counts}")

    print("\nThe same unit, the same arm: no table, no cookie, the same in every process.")
    print("  " + ", ".join(f"{unit} → {choose(canary, unit).arm}" for unit in UNITS[2:5]))

    print("\nRaising the canary only moves units to it:")
    before = arms(canary)
    for percent in (25, 50):
        after = arms(ek.canary(stable="champion", canary="challenger", percent=percent))
        moved = Counter(f"{a} → {b}" for a, b in zip(before, after, strict=True) if a != b)
        print(f"  to {percent} %: " + ", ".join(f"{move} {n:,}" for move, n in moved.items()))
        before = after

    dealt_anew = arms(replace(canary, salt="second experiment"))
    both = sum(a == b == "challenger" for a, b in zip(arms(canary), dealt_anew, strict=True))
    print(f"\nAnother salt deals the units anew: {both / len(UNITS):.1%} are challengers in both, 1 % by chance.")

    try:
        ek.canary(stable="champion", canary="challenger", percent=120)
    except ek.EkibenError as refusal:
        print(f"\n{refusal}")


if __name__ == "__main__":
    main()
