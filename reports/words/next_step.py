"""What to do now, in words: one command first, what it is worth, and what follows if it fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.judging.conclusion import LIKELY
from harness.judging.fact import Fact, FactCode
from harness.judging.findings import Unit
from reports.words.facts import say
from reports.words.numbers import at_most, between, listing, metric_name, plain_effect
from reports.words.phrases import Phrase, Values, filled, place_of, places_of

_SHOWN = 3


def next_step(found: Fact, *, store: str = "") -> str:
    """The step, what it is expected to settle, and what a person does if it settles nothing.

    Parameters
    ----------
    store
        Folder of results as the commands name it; '' for the one they take by themselves.
    """
    values = {**found.values, "store": f" --store {store}" if store and store != "runs" else ""}
    if found.because is None:
        return filled(_STEPS[found.code], values)
    after = filled(_HELD_BACK[found.because.code], {**found.because.values, **values})
    return f"Keep {values['legacy']} for now: {say(found.because)} {after}"


def next_action(found: Fact, *, store: str = "") -> str:
    """The step, and the rest: its whole chance, and the limits that would be met today."""
    parts = [next_step(found, store=store)]
    told: Any = [found.values.get(name, ()) for name in ("likely", "unlikely")]
    chance = found.values.get("chance")
    if isinstance(chance, float):
        rules = [_rules(rows, "and", chances=True) for rows in told if rows]
        rules.append(f"all guardrails together {at_most(chance)}")
        parts.append(f"The chances that it decides: {', '.join(rules)}.")
    hardly: Any = found.values.get("hardly")
    if hardly:
        name, tighter, *ends = hardly
        chances = between(*(f"{100 * end:.0f}" for end in ends))
        why = ", since its limits are tighter" if tighter else ""
        parts.append(
            f"`abharness compare {name}` would hardly decide any of it (chance {chances} %){why}."
        )
    settled: Any = found.values.get("settled", ())
    rows = [row for row in settled if _is_limit(*row[-2:])]
    if rows:
        met = [
            f"{place_of(dataset, metric, part)} {_met(unit, bound, at)} "
            f"(asked {plain_effect(unit, bound)})"
            for dataset, metric, part, unit, bound, at in rows[:_SHOWN]
        ]
        more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
        parts.append(
            f"Limits that today's evidence would meet: {', '.join(met)}{more}. Taking one of them "
            "changes the policy: decide before you look at new results whether you can live with "
            "it, never to make these pass."
        )
    return " ".join(parts)


def _is_limit(bound: float, at: float) -> bool:
    """Whether `at` could stand in place of `bound`: it asks for less, and a gain stays a gain."""
    return at > bound and not bound < 0 <= at


def _met(unit: Unit, bound: float, at: float) -> str:
    """The limit that would be met; in words where it reads as the one that was asked."""
    said = plain_effect(unit, at)
    return f"just over {said}" if said == plain_effect(unit, bound) else said


def _likely(v: Values) -> str:
    """What the step should decide, and what it hardly will."""
    if not v["likely"]:  # a step that is not likely to decide anything is advised only blindly
        return f" {v['now']} non-overlapping origins are too few to say what it will decide."
    but = f", but probably not {_rules(v['unlikely'], 'or')}" if v["unlikely"] else ""
    doubt = ", so expect another HOLD" if v["chance"] is not None and v["chance"] < LIKELY else ""
    return f" It should decide {_rules(v['likely'], 'and')}{but}{doubt}."


def _rules(rows: Sequence[Sequence[Any]], last: str, *, chances: bool = False) -> str:
    """Rules; with chances, that each is decided, or its range over several."""
    names = listing(
        dict.fromkeys(
            metric_name(metric) + (f" ({part})" if part else "") for _, metric, part, _ in rows
        )
    )
    names = f" {last} ".join(names.rsplit(" and ", 1))
    known = sorted(chance for *_, chance in rows)
    ends = between(*(f"{100 * chance:.0f}" for chance in (known[0], known[-1])))
    datasets = dict.fromkeys(dataset for dataset, *_ in rows)
    where = f" on {next(iter(datasets))}" if len(datasets) == 1 else ""
    return f"{names}{where}" + (f" {ends} %" if chances else "")


def _otherwise(v: Values) -> str:
    """What a person does where the step ends in HOLD as well."""
    ended = ", since these data have ended" if v["ended"] else ""
    doubted = v["chance"] is not None and v["chance"] < LIKELY
    costs = f" Measure the costs too: `abharness measure {v['experiment']}{v['store']}`."
    instead = ""
    if v["better"] is not None:
        instead = f", or ask the same of {v['better']}, which does better than {v['legacy']}"
    measure = costs if v["unmeasured"] else ""
    then = "Then" if doubted else "If that is a HOLD too,"
    return f" {then} keep {v['legacy']}{ended}{instead}.{measure}"


def _raise(v: Values) -> str:
    names = [f"plan.{name}.origins={count}" for name, count in v["origins"]]
    if v["every"] and len({count for _, count in v["origins"]}) == 1:
        names = [f"plan.origins={v['origins'][0][1]}"]
    names += [] if v["refit"] is None else [f"plan.refit={v['refit']}"]
    changes = " ".join(f"--set {name}" for name in names)
    return (
        f"Keep {v['legacy']} for now and run `abharness compare {v['experiment']} {changes}"
        f"{v['store']}`: {v['then']:,} independent origins in place of {v['now']:,}, as many "
        f"as the shortest history holds; {_attempt(v)}.{_likely(v)}{_otherwise(v)}"
    )


def _attempt(v: Values) -> str:
    """What running a larger plan on the same sessions costs."""
    return (
        f"another attempt on these sessions, with its own {100 * v['alpha']:g} % chance of a wrong "
        "PROMOTE"
    )


def _keep_undecided(v: Values) -> str:
    why = "no run is likely to decide an open rule"
    if v["silent"]:
        why = f"{v['now']} non-overlapping origins are too few to say how many would decide"
    elif v["nearest"] is not None:
        origins, dataset, metric, part = v["nearest"]
        why += f": the nearest, {place_of(dataset, metric, part)}, takes about {origins:,} origins"
        why += "" if v["held"] is None else f", and these data hold {v['held']:,}"
    on = (
        "To go on, compare on data that still grow: `abharness init` writes the experiment"
        if v["ended"]
        else f"`abharness nightly {v['experiment']}{v['store']}` adds origins, and no "
        "date within a year is foreseen"
    )
    return f"Keep {v['legacy']}: {why}. {on}."


_STEPS: Mapping[FactCode, Phrase] = {
    FactCode.REPLACE: (
        "Replace {legacy} by {candidate} in stages that can be rolled back: write a rollout.toml "
        "and run `abharness rollout status rollout.toml{store}`; `abharness nightly "
        "{experiment}{store}` keeps comparing them."
    ),
    FactCode.KEEP: (
        "Keep {legacy}. A version of {candidate} that mends {_rules} is another arm: add it to the "
        "experiment and run `abharness compare {experiment} --candidate-arm NAME{store}`."
    ),
    FactCode.FILL: (
        "Mend what kept the missing cells from running, then run `abharness compare "
        "{experiment}{store}`: it runs only those, and judges again."
    ),
    FactCode.REPAIR: (
        "Keep {legacy}, mend what is named first, then run `abharness compare "
        "{experiment}{store}`: what is sound is not run again."
    ),
    FactCode.MEASURE: lambda v: (
        f"Keep {v['legacy']} for now and run `abharness measure {v['experiment']}{v['store']}`, "
        f"then `abharness gate {v['experiment']}{v['store']}`: only costs are open "
        f"({listing(metric_name(metric) for _, metric, _ in v['rules'])})."
    ),
    FactCode.RETRY_FAILED: (
        "Keep {legacy} for now, mend what made {arm} fail, and run `abharness compare {experiment} "
        "--retry-failed{store}`: the answer depends on how its failed windows are counted."
    ),
    FactCode.PLAN_ENDED: (
        "Keep {legacy}: it is not shown with the {origins} non-overlapping origins that were "
        "planned. To go on asking needs another registration."
    ),
    FactCode.LARGER_PLAN: lambda v: (
        f"Keep {v['legacy']} for now and run `abharness compare {v['larger']}{v['store']}`: "
        f"{v['then']:,} independent origins in place of {v['now']:,}, {v['seeds']} seeds, "
        f"{'tighter limits' if v['tighter'] else 'limits of its own'}; "
        f"{_attempt(v)}.{_likely(v)}{_otherwise(v)}"
    ),
    FactCode.RAISE_ORIGINS: _raise,
    FactCode.NEXT_LOOK: (
        "Keep {legacy} and let `abharness nightly {experiment}{store}` run each night: it looks "
        "again at each further independent origin, {now:,} now, and ends with {most:,}."
    ),
    FactCode.WAIT_FOR_ORIGINS: lambda v: (
        f"Keep {v['legacy']} and let `abharness nightly {v['experiment']}{v['store']}` run each "
        f"night: {v['more']:,} more independent origins, there by {v['until']}, would decide "
        f"{places_of(v['rules'])}" + (f"; {v['rest']} more would stay open." if v["rest"] else ".")
    ),
    FactCode.KEEP_UNDECIDED: _keep_undecided,
}

_HELD_BACK: Mapping[FactCode, Phrase] = {
    FactCode.BEHIND_REFERENCE: (
        "Ask the same of {reference}: `abharness gate {experiment} --set policy.candidate="
        "{reference} --set policy.reference=ANOTHER{store}`."
    ),
    FactCode.STRAW_MAN: (
        "Mend {legacy} and run `abharness compare {experiment}{store}`, or ask the same of "
        "{reference}: `abharness gate {experiment} --set policy.candidate={reference} --set "
        "policy.reference=ANOTHER{store}`."
    ),
    FactCode.UNJUDGED_WORSE: (
        "Write a rule for these losses into the policy, then run `abharness gate "
        "{experiment}{store}`."
    ),
    FactCode.IMPLAUSIBLE: (
        "Try it: `abharness check {candidate} --experiment {experiment}{store}`."
    ),
    FactCode.ALL_WAIVED: (
        "Take a waiver out of the policy, then run `abharness gate {experiment}{store}`."
    ),
}
"""The step for each thing that keeps a PROMOTE at HOLD."""
