"""What each fact of judging and the gate is called in words: one phrase a code, no more.

A finding that compares losses is worded from its comparison, see `reports.words.sentences`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from harness.costs import HIGHER_IS_BETTER
from harness.judging.fact import Fact, FactCode
from harness.reasons import Reason, ReasonCode
from reports.words.numbers import in_sentence, listing, metric_name, plain_effect, ratio

Values = Mapping[str, Any]

SELF_TEST_TITLES = {
    "a": "legacy against itself is not rejected, nor are randomly exchanged arms",
    "b": "losses worse than the margin are not promoted, much worse are rejected",
    "c": "a planted gain is promoted",
    "d": "a dropped cell is INVALID",
    "e": "swapped arms mirror the findings",
    "f": "the order of rows changes no byte",
}
"""What must be true of each part of the gate's self-test."""


def say(found: Fact) -> str:
    """Say a fact; what it rests on is a part of it."""
    if found.because is not None:
        return _RESTING[found.code](found.values, say(found.because))
    return _PHRASES[found.code](found.values)


def first_line(news: Sequence[Fact]) -> str:
    """What is new and what must be known of the data, in the line that everything begins with."""
    return "; ".join(map(say, news))


def why(found: Reason | None) -> str:
    """Say a reason; '' where there is none."""
    return "" if found is None else phrase(found.code.value, found.values)


def why_all(found: Iterable[Reason]) -> str:
    """Say several reasons in one line; '' where there is none."""
    return "; ".join(map(why, found))


def phrase(code: str, values: Values) -> str:
    """Say a reason by its code, as a fact of judging holds it."""
    return _REASONS[ReasonCode(code)](values)


def place_of(dataset: str, metric: str, part: str) -> str:
    """What a rule was judged on."""
    named = "skill by CRPS" if metric == "skill" else metric_name(metric)
    return f"{dataset} {named}" + (f" ({part})" if part else "")


def _where(v: Values) -> str:
    return place_of(v["dataset"], v["metric"], v["part"])


def _cell(v: Values) -> str:
    return f"{v['arm']} on {v['dataset']}, seed {v['seed']}"


def _rules(v: Values) -> str:
    shown = [f"{d} {m}" + (f" ({part})" if part else "") for d, m, part in v["rules"][:3]]
    more = f" and {len(v['rules']) - 3} more" if len(v["rules"]) > 3 else ""
    return ", ".join(shown) + more


def _cells_missing(v: Values) -> str:
    names = [_cell({"arm": a, "dataset": d, "seed": s}) for a, d, s in v["cells"]]
    shown = "; ".join(names[:3]) + ("; ..." if len(names) > 3 else "")
    return f"{len(names)} of {v['declared']} declared cells have no scores: {shown}."


def _failures(v: Values) -> str:
    said = "kept"
    if not v["kept"]:
        said = "broken, nothing was compared" if v["windows"] == v["failed"] else "broken"
        said += "" if v["side"] == "candidate" else ", so there is nothing sound to compare to"
    return (
        f"{v['dataset']} failures: {v['arm']} failed {v['failed']} of {v['windows']} windows, "
        f"limit {v['limit']}: {said}."
    )


def _cost(v: Values, said: str) -> str:
    name = v["criterion"]
    side = "at least" if name in HIGHER_IS_BETTER else "at most"
    figure = ""
    if v["ratio"] is not None:
        figure = f"{ratio(v['ratio'])} times legacy's"
        if v["low"] is not None and v["high"] is not None:
            noise = "" if v["noise"] is None else f", noise {in_sentence(v['noise'])}"
            figure += f" ({ratio(v['low'])} to {ratio(v['high'])}{noise})"
        figure += ", "
    asked = f"limit {side} {v['bound']:g} times legacy's"
    return f"{name.replace('_', ' ')}: {figure}{asked}: {said}."


def _seeds(seeds: Sequence[int]) -> str:
    """Seeds in words: seed 1; seeds 1 to 5; seeds 1, 3 and 7."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seeds {', '.join(map(str, seeds[:-1]))} and {seeds[-1]}"


def _worse(rows: Sequence[Sequence[Any]]) -> str:
    """Rows of dataset, metric, and skill with its interval: how much worse."""
    said = []
    for dataset, metric, skill, low, high in rows:
        ends = ""
        if low is not None and high is not None:
            ends = f" ({in_sentence(-high, signed=True)} to {in_sentence(-low, signed=True)})"
        said.append(f"on {dataset} by {metric_name(metric)} {in_sentence(-skill)}{ends}")
    return ", ".join(said)


def _asked_otherwise(v: Values) -> str:
    """What a fit answered when it was asked again, and what that shows."""
    apart = (
        "no forecast" if v["apart"] is None else f"one {in_sentence(v['apart'])} of the price away"
    )
    how, shows = {
        "in order": (
            "alone, on the rows up to its origin and no more",
            "what is stored used later sessions",
        ),
        "under other dates": (
            "on the same rows with all dates moved by 28 years",
            "it looks something up by date",
        ),
        "at other prices": (
            "on the same rows in another unit",
            "it looks something up by price, or its unit is fixed",
        ),
    }[v["way"]]
    place = _cell(v)
    return f"asked again {how}, {place} gives {apart} (last session seen {v['at']}): {shows}."


def _changes(v: Values) -> str:
    """Rules that were dropped, and those that are others now."""
    said = [f"{name} was dropped" for name in v["dropped"]]
    said += [f"{name} is {now} (was {before})" for name, before, now in v["others"]]
    return ", ".join(said)


def _covered(rows: Sequence[Sequence[Any]]) -> str:
    """Rows of dataset, metric, and the share covered with its interval."""
    said = []
    for dataset, metric, share, low, high in rows:
        level = metric.removeprefix("coverage_")
        known = low is not None and high is not None
        ends = f" ({in_sentence(low)} to {in_sentence(high)})" if known else ""
        said.append(f"on {dataset} the {level} % interval covers {in_sentence(share)}{ends}")
    return ", ".join(said)


def _all_hold(v: Values) -> str:
    gain = " and a gain is shown" if v["gain"] else ""
    if v["waived"]:
        noun = "finding" if v["waived"] == 1 else "findings"
        held = f"all is shown to hold{gain}, but for {v['waived']} waived {noun}"
    else:
        held = f"all {v['guardrails']} guardrails are shown to hold{gain}"
    return f"{v['candidate']} may replace {v['legacy']}: {held}."


def _gap(v: Values) -> str:
    """What the other reading of samples would change."""
    other = v["gap"] if v["drawn"] else 1 / (1 + v["gap"]) - 1
    return f"{in_sentence(abs(other))} {'higher' if other > 0 else 'lower'}"


def _more(v: Values) -> str:
    return (
        f"Keep {v['legacy']} for now and compare again with {v['more']:,} more independent origins"
    )


def _sessions(count: int) -> str:
    return f"{count} session" if count == 1 else f"{count} sessions"


def _new_origins(v: Values) -> str:
    noun = "origin" if v["origins"] == 1 else "origins"
    return f"{v['origins']} new independent {noun}"


def _wait(v: Values) -> str:
    return (
        f"{_more(v)}: the history of {v['dataset']} holds {v['held']:,}; the rest will be there by "
        f"{v['until']}.{_settled(v)}"
    )


def _larger(v: Values) -> str:
    enough = "" if v["enough"] else "; that may still leave some open"
    return (
        f"Keep {v['legacy']} for now and run `abharness compare {v['experiment']}`: "
        f"{v['origins']} independent origins in place of {v['now']}{enough}.{_settled(v)}"
    )


def _settled(v: Values) -> str:
    """The bounds that would be decided today, beside the ones that are asked."""
    rows = v["settled"]
    if not rows:
        return ""
    shown = [
        f"{place_of(dataset, metric, part)} {plain_effect(unit, at)} "
        f"(asked {plain_effect(unit, bound)})"
        for dataset, metric, part, unit, bound, at in rows[:3]
    ]
    more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    return (
        f" Shown today is no more than {', '.join(shown)}{more}: settle whether the limit is what "
        "you mean before you look again."
    )


def _paired(v: Values, said: str) -> str:
    first, other = v["sides"]
    return f"on {v['dataset']}: {first} and {other} {said}"


_SAID = {"within": "the bound kept", "beyond": "the bound broken", "undecided": "undecided"}

_PHRASES: dict[FactCode, Callable[[Values], str]] = {
    FactCode.NO_LOOK: lambda v: (
        "not decided, too little of the error rate may be spent by now for a look at it"
    ),
    FactCode.NOT_BEYOND_YET: lambda v: (
        "not decided, it lies beyond its bound, and not so clearly as a REJECT asks for at this "
        "look"
    ),
    FactCode.SHOWN_BEFORE: lambda v: f"shown to hold at the look of {v['since']}",
    FactCode.NOT_COMPARED: lambda v: (
        f"{_where(v)}: {phrase(v['problem'], v)}: no conclusion allowed."
    ),
    FactCode.ALL_WINDOWS_FAILED: lambda v: (
        f"{_where(v)}: {v['arm']} failed every window, nothing was compared: no conclusion allowed."
    ),
    FactCode.NO_LOSS_TO_SHARE: lambda v: (
        f"{_where(v)}: {v['arm']}'s loss is as good as 0 (at most {v['most']:g} of the last "
        "value), so a margin that is a share of it means nothing: no conclusion allowed."
    ),
    FactCode.NO_REFERENCE: lambda v: (
        f"{_where(v)}: there is no reference arm: no conclusion allowed."
    ),
    FactCode.FAILURES: _failures,
    FactCode.COST_KEPT: lambda v: _cost(v, "kept"),
    FactCode.COST_BROKEN: lambda v: _cost(v, "broken"),
    FactCode.COST_OPEN: lambda v: _cost(
        v, "not decided, interval and noise reach across the limit"
    ),
    FactCode.COST_NOT_MEASURED: lambda v: _cost(
        v, f"not decided, it was not measured; `{v['command']}` measures it"
    ),
    FactCode.COST_WITHOUT_INTERVAL: lambda v: _cost(
        v, f"not decided, {v['pairs']} pair gives no interval; `{v['command']}` again"
    ),
    FactCode.COST_NOT_TAKEN: lambda v: _cost(v, f"not decided, {phrase(v['problem'], v)}"),
    FactCode.COST_NO_EVIDENCE: lambda v: _cost(
        v, f"no conclusion allowed, {phrase(v['problem'], v)}"
    ),
    FactCode.NOTHING_COMPARED: lambda v: "Nothing was compared.",
    FactCode.GRID_EMPTY: lambda v: "The declared grid is empty: nothing was compared.",
    FactCode.GRID_WITHOUT_ARM: lambda v: f"The declared grid has no {v['arm']} on {v['dataset']}.",
    FactCode.CELLS_MISSING: _cells_missing,
    FactCode.CELL_TWICE: lambda v: f"{_cell(v)} has scores {v['times']} times.",
    FactCode.CELL_NOT_DECLARED: lambda v: f"{_cell(v)} has scores but was not declared.",
    FactCode.EVIDENCE_NOT_THERE: lambda v: (
        f"The policy declares evidence on {v['dataset']}, and the grid has none there."
    ),
    FactCode.FEW_SEEDS: lambda v: (
        f"The policy declares {v['asked']} seeds, and the pair was run with {v['found']}."
    ),
    FactCode.FEWER_ORIGINS: lambda v: (
        f"The policy declares {v['asked']} origins, and {v['dataset']} has {v['found']}."
    ),
    FactCode.OTHER_ACTUALS: lambda v: (
        f"On {v['dataset']} not all arms were judged against the same actuals and origins."
    ),
    FactCode.OFF_STRIDE: lambda v: (
        f"{_cell(v)}: origins are not every {v['stride']} sessions, as the plan says."
    ),
    FactCode.FAILED_T10: lambda v: (
        "later sessions it has seen change its forecasts of a made-up series (T10)."
    ),
    FactCode.ASKED_OTHERWISE: _asked_otherwise,
    FactCode.UNIT_UNREADABLE: lambda v: (
        f"{_cell(v)}: a stored unit cannot be read: {v['problem']}."
    ),
    FactCode.SCORES_CONFLICT: lambda v: (
        f"{_cell(v)}: has other scores than in the earlier verdict {' and '.join(v['verdicts'])}, "
        "though nothing that decides them changed and no part was given up: an error of the "
        "pipeline or of its store."
    ),
    FactCode.IMPLAUSIBLE: lambda v: (
        f"On {v['dataset']} {v['arm']} is {in_sentence(v['skill'])} better than {v['reference']} "
        f"by {v['metric']}: more than {in_sentence(v['most'])} is implausible; look for a leak."
    ),
    FactCode.CONTAMINATED: lambda v: (
        f"{in_sentence(v['share'])} of the origins on {v['dataset']} lie before the pretraining "
        f"cut-off of {v['arm']}, {v['said']}: it may have seen what it is judged on."
    ),
    FactCode.PARTLY_COMPARED: lambda v: (
        f"on {v['dataset']} {v['arm']} is set against {v['reference']} without the {v['windows']} "
        "windows that one of them failed."
    ),
    FactCode.ONE_SEED: lambda v: (
        f"{v['arm']} was run with one seed: how much another would change is in no interval."
    ),
    FactCode.PART_GIVEN_UP: lambda v: (
        f"{_cell(v)}: a damaged part of its forecasts was given up and forecast again: {v['why']}"
    ),
    FactCode.MAINTENANCE: lambda v: (
        f"{_cell(v)}: another installation since {v['day']} ({v['changed']}): "
        + (
            f"made again, the last {v['origins']} forecasts of its fits are equal."
            if v["equal"]
            else f"its results began anew, since {v['apart']}."
        )
    ),
    FactCode.SEEN_IN_TRAINING: lambda v: (
        f"{v['origins']} of {v['of']} origins on {v['dataset']} begin on or before {v['until']}, "
        f"the last session that the weights of {v['arm']} have seen: they decide nothing and are "
        f"in no table."
        + (
            f" On them the candidate's {metric_name(v['metric'])} differs by "
            f"{in_sentence(v['effect'], signed=True)}."
            if v["effect"] is not None
            else ""
        )
    ),
    FactCode.ALL_SEEN_IN_TRAINING: lambda v: (
        f"all {v['of']} origins on {v['dataset']} begin on or before {v['until']}, the last "
        f"session that the weights of {v['arm']} have seen: let the plan begin later"
    ),
    FactCode.HAND_PICKED_SEEDS: lambda v: (
        f"run with {_seeds(v['ran'])}; the experiment declares {_seeds(v['declared'])}: a verdict "
        "on hand-picked seeds is not the declared one."
    ),
    FactCode.FAR_FROM_PRICES: lambda v: (
        f"on {v['dataset']} the point path of {v['arm']} (seed {v['seed']}) is nowhere near the "
        f"prices: its middle is {v['middle']:.4g}, that of the last prices {v['last']:.4g}. It is "
        "broken, or its scaling was never undone."
    ),
    FactCode.LONG_MEMORY: lambda v: (
        _where(v)
        + (f" (and {v['others']} more there)" if v["others"] else "")
        + f" {'has' if v['done'] else 'may have'} long memory (order {v['memory']:.2f}, standard "
        + f"error {v['error']:.2f}): its interval "
        + (
            f"was made {v['wider']:.1f} times as wide, which may not be enough."
            if v["done"]
            else f"would then have to be {v['wider']:.1f} times as wide"
            + ("." if v["stands"] else ", and what is concluded from it would not be.")
        )
    ),
    FactCode.MEMBERS_READ: lambda v: (
        f"the {v['members']} samples of {v['arm']} on {v['dataset']} are scored "
        + (
            "as independent draws; read as quantiles"
            if v["drawn"]
            else "as quantiles, for they were not declared independent draws or lie too evenly to "
            "be any; read as draws"
        )
        + f", their CRPS would be {_gap(v)}."
    ),
    FactCode.FEW_ORIGINS_ASKED: lambda v: (
        f"the policy asks for {v['asked']} non-overlapping origins only; with fewer than "
        f"{v['sound']} no bound keeps its error rate."
    ),
    FactCode.BELOW_REFERENCE: lambda v: (
        f"{v['arm']} does not beat {v['reference']}, {_worse(v['rows'])}."
    ),
    FactCode.NO_REFERENCE_ARM: lambda v: (
        "no reference arm was run, so nothing tells whether a random walk would do as well as "
        f"{v['candidate']} or {v['legacy']}."
    ),
    FactCode.CHANGED_SINCE: lambda v: (
        f"{' and '.join(v['what'])} changed after the first results, which came after {v['at']}: "
        f"{_changes(v) or 'not the rules'}. Who knew the results may have chosen by them."
    ),
    FactCode.STRAW_MAN: lambda v: (
        f"{v['legacy']} is shown worse than {v['reference']}, {_worse(v['rows'])}. It is broken or "
        f"untrained: replacing it proves little, and {v['reference']} would do as well."
    ),
    FactCode.WORSE_BESIDE: lambda v: (
        f"by losses that no rule names {v['arm']} is shown worse than {v['legacy']}, "
        f"{_worse(v['rows'])}."
    ),
    FactCode.COVERS_OTHERWISE: lambda v: (
        f"{v['arm']} is shown not to cover what its intervals promise, and no rule judges them: "
        f"{_covered(v['rows'])}."
    ),
    FactCode.UNJUDGED: lambda v: (
        f"no guardrail judges the losses on {' and '.join(v['datasets'])} as a whole."
    ),
    FactCode.PLACEBO_DOUBTS: lambda v: (
        f"on {v['dataset']} {v['arm']} is {in_sentence(v['skill'])} better than {v['reference']}, "
        f"and {in_sentence(v['placebo'], signed=True)} on a made-up continuation that stands on no "
        "disk: it may know the data, or be good at what blocks of returns do not keep."
    ),
    FactCode.NOT_TESTED: lambda v: (
        f"{v['arm']} was not shown to be blind to the future; not tested: "
        f"{', '.join(v['tests']) or 'anything'}."
    ),
    FactCode.WIDE_MARGINS: lambda v: (
        f"the policy allows more than {in_sentence(v['most'])}: "
        + ", ".join(f"{name} {in_sentence(margin)}" for name, margin in v["rules"])
        + "."
    ),
    FactCode.LAX_ALPHA: lambda v: (
        f"the policy lets {in_sentence(v['alpha'])} of unfit candidates pass a guardrail; more "
        f"than {in_sentence(v['most'])} is hardly a test."
    ),
    FactCode.LAX_IMPLAUSIBLE: lambda v: (
        f"the policy doubts a gain over the reference from {in_sentence(v['skill'])} on only; "
        f"{in_sentence(v['most'])} is the default."
    ),
    FactCode.BROAD_WAIVER: lambda v: (
        f"a waiver of '{v['finding']}' names no single finding; it lifts {v['waived']}."
    ),
    FactCode.LONG_WAIVER: lambda v: (
        f"a waiver of {v['finding']} holds until {v['until']}, for {v['days']:,} more days; more "
        f"than {v['most']} is no longer for a while."
    ),
    FactCode.DATE_PAST: lambda v: (
        f"waivers are held against {v['date']}, a day that was past when the verdict was passed."
    ),
    FactCode.BEHIND_REFERENCE: lambda v: (
        f"{v['arm']} is shown worse than {v['reference']} by more than the margin: {_rules(v)}."
    ),
    FactCode.UNJUDGED_WORSE: lambda v: (
        f"where no guardrail judges losses as a whole {v['arm']} is shown worse than "
        f'{v["legacy"]}, {_worse(v["rows"])}; `unjudged = "allow"` in the policy accepts that.'
    ),
    FactCode.ALL_WAIVED: lambda v: "every guardrail on a loss is waived, so nothing is judged.",
    FactCode.BROKEN: lambda v: (
        f"{v['candidate']} must not replace {v['legacy']}: shown broken are {_rules(v)}."
    ),
    FactCode.GUARDRAILS_OPEN: lambda v: (
        f"Whether {v['candidate']} may replace {v['legacy']} is not decided: {v['open']} of "
        f"{v['guardrails']} guardrails are open."
    ),
    FactCode.RULES_OPEN: lambda v: (
        f"Whether {v['candidate']} may replace {v['legacy']} is not decided: open are {_rules(v)}."
    ),
    FactCode.NO_GAIN_YET: lambda v: (
        f"{v['candidate']} keeps every guardrail, but no gain over {v['legacy']} is shown yet."
    ),
    FactCode.ALL_HOLD: _all_hold,
    FactCode.REPLACE: lambda v: (
        f"Replace {v['legacy']} by {v['candidate']}, and keep comparing them on new origins."
    ),
    FactCode.KEEP: lambda v: (
        f"Keep {v['legacy']}; look at the windows where {v['candidate']} loses most before trying "
        "again."
    ),
    FactCode.REPAIR: lambda v: (
        "Repair what is named first, run the missing cells, and judge again."
    ),
    FactCode.MEASURE: lambda v: (
        f"Keep {v['legacy']} for now, measure what is open ({_rules(v)}), and judge again."
    ),
    FactCode.COMPARE_WITH_MORE: lambda v: (
        f"Keep {v['legacy']} for now; {v['origins']} non-overlapping origins are too few to say "
        "how many would decide: compare again with more."
    ),
    FactCode.SETTLE_MARGIN: lambda v: (
        f"Keep {v['legacy']} for now: origins to be had within a year will not decide what is "
        f"open.{_settled(v)}"
    ),
    FactCode.LARGER_PLAN: _larger,
    FactCode.RAISE_ORIGINS: lambda v: (
        f"{_more(v)}: the history holds them, so raise `origins` in the plan.{_settled(v)}"
    ),
    FactCode.PLAN_ENDED: lambda v: (
        f"Keep {v['legacy']}: it is not shown with the {v['origins']} non-overlapping origins that "
        "were planned. To go on asking needs another registration."
    ),
    FactCode.WAIT_FOR_ORIGINS: _wait,
    FactCode.FIRST_VERDICT: lambda v: f"the first verdict: {v['outcome']}",
    FactCode.NOTHING_NEW: lambda v: (
        f"nothing new since {v['since']}: {v['outcome']}"
        + ("" if v["wait"] is None else f", next independent origin in {_sessions(v['wait'])}")
    ),
    FactCode.STILL: lambda v: f"{_new_origins(v)}: still {v['outcome']}",
    FactCode.BECAME: lambda v: f"{v['before']} became {v['outcome']}: {_new_origins(v)}",
    FactCode.BECAME_OTHERWISE: lambda v: (
        f"{v['before']} became {v['outcome']}: no new origin, asked or computed otherwise"
    ),
    FactCode.NO_VERDICT: lambda v: (
        f"no conclusion: {v['outcome']}" + (f", {v['before']} before" if v["before"] else "")
    ),
    FactCode.NOT_UPDATED: lambda v: f"data not updated: {v['dataset']}: {v['why']}",
    FactCode.DATA_OLD: lambda v: (
        f"caution: {v['dataset']} ends on {v['last']}, {_sessions(v['lacking'])} ago by its "
        "calendar"
    ),
    FactCode.TRIED_BEFORE: lambda v: (
        f"this is attempt {v['attempt']} on origins judged before, the first of them on "
        f"{v['since']}; other than in the last are: {', '.join(v['what'])}. Trying again until "
        "something passes makes a wrong PROMOTE likely."
    ),
    FactCode.RECORDS_LOST: lambda v: (
        f"the store's records before {v['at']} were lost ({v['why']}), and with them how often "
        "these origins were judged: this counts as a new attempt, of an unknown number."
    ),
    FactCode.ATTEMPTS_USED: lambda v: (
        f"the error rate of these origins was used up by the attempts before this one, number "
        f"{v['attempt']}: nothing more can be promoted on them."
    ),
    FactCode.NOTHING_TO_TEST: lambda v: "nothing was compared",
    FactCode.NO_LOSS_TO_PLANT: lambda v: "there is no criterion on a mean loss to plant in",
    FactCode.ITSELF_REJECTED: lambda v: (
        f"legacy against itself is rejected by {', '.join(v['findings'])}"
    ),
    FactCode.TOO_MANY_ALARMS: lambda v: (
        f"{v['dataset']} {v['metric']}: exchanged arms are shown worse in {v['alarms']} of "
        f"{v['exchanges']} cases at a level of {100 * v['alpha']:g} %"
    ),
    FactCode.ITSELF_TIES: lambda v: (
        f"{v['findings']} findings tie; of {v['exchanges']} random exchanges at most "
        f"{v['alarms']} alarm (allowed {v['allowed']})"
    ),
    FactCode.WORSE_PROMOTED: lambda v: (
        f"losses worse than the margin are promoted by {', '.join(v['findings'])}"
    ),
    FactCode.MUCH_WORSE_NOT_REJECTED: lambda v: (
        f"losses twice as large are not rejected by {', '.join(v['findings'])}"
    ),
    FactCode.NONE_ABLE_TO_REJECT: lambda v: (
        "a little worse is not promoted; no guardrail has the evidence to reject"
    ),
    FactCode.MUCH_WORSE_NO_REJECT: lambda v: (
        "losses twice as large on every criterion are not a REJECT"
    ),
    FactCode.WORSE_HELD_BACK: lambda v: (
        f"{v['guardrails']} guardrails hold back a little worse, {v['able']} of {v['guardrails']} "
        "reject much worse"
    ),
    FactCode.GAIN_NOT_PROMOTED: lambda v: (
        f"losses half as large are not promoted by {', '.join(v['findings'])}"
    ),
    FactCode.GAIN_PARTLY_PROMOTED: lambda v: (
        f"{v['able']} of {v['findings']} findings have the evidence to promote, do"
    ),
    FactCode.NONE_ABLE_TO_PROMOTE: lambda v: "no finding has the evidence to promote anything",
    FactCode.GAIN_NO_PROMOTE: lambda v: "losses half as large on every criterion are not a PROMOTE",
    FactCode.GAIN_PROMOTED: lambda v: (
        f"{v['findings']} findings and the whole promote a planted gain"
    ),
    FactCode.STILL_CONCLUDED: lambda v: (
        f"without a cell of {v['arm']} the verdict is {v['outcome']}"
    ),
    FactCode.REFUSED_WITHOUT_CELL: lambda v: (
        f"without a cell of {', '.join(v['arms'])} there is no conclusion"
    ),
    FactCode.NOT_MIRRORED: lambda v: (
        f"{v['dataset']} {v['metric']}: {v['effect']} one way, {v['back']} back"
    ),
    FactCode.MIRRORED: lambda v: f"{v['findings']} findings mirror",
    FactCode.NO_BOUNDS_TO_MIRROR: lambda v: "no criterion on a loss has bounds in both directions",
    FactCode.SAME_BYTES: lambda v: "the same bytes",
    FactCode.OTHER_BYTES: lambda v: "another order, other bytes",
    FactCode.NO_PREDICTION: lambda v: (
        f"no prediction: {v['origins']} non-overlapping origins, fewer than the {v['least']} it "
        "takes"
    ),
    FactCode.TIED: lambda v: "not known: these arms tie",
    FactCode.STORED_SCORES: lambda v: f"stored scores of {v['candidate']} and {v['legacy']}",
    FactCode.STAND_INS: lambda v: (
        f"{' and '.join(v['arms'])}, run here in place of a pair that is not stored yet; the seeds "
        "of arms that learn are not in it"
    ),
    FactCode.INPUTS_EDITED: lambda v: "inputs: are not those the verdict names",
    FactCode.POLICY_EDITED: lambda v: "fingerprints: policy does not fit the policy",
    FactCode.MEANING_EDITED: lambda v: "fingerprints: meaning does not fit its parts",
    FactCode.FILE_DIFFERS: lambda v: (
        f"verdict.json: is not as it was drawn from the record of {v['name']}: "
        + ", ".join(map(str, v["places"][:5]))
    ),
    FactCode.SCORES_GONE: lambda v: f"scores of {_cell(v)}: {v['problem']}",
    FactCode.SCORES_DIFFER: lambda v: f"scores of {_cell(v)}: other numbers than then",
    FactCode.VALUE_DIFFERS: lambda v: (
        f"{v['place']}: recorded {v['recorded']}, judged again {v['again']}"
    ),
    FactCode.LAYOUT_DIFFERS: lambda v: "layout: the same content is written in other bytes",
    FactCode.OTHER_CODE: lambda v: "the verdict was passed by other code than this",
}

_RESTING: Mapping[FactCode, Callable[[Values, str], str]] = {
    FactCode.READS_AHEAD: lambda v, why: f"{v['arm']} knows what it cannot know: {why}",
    FactCode.HELD_BACK: lambda v, why: (
        f"Every rule is shown to hold, and whether {v['candidate']} may replace {v['legacy']} is "
        f"not decided: {why}"
    ),
    FactCode.SETTLE_FIRST: lambda v, why: (
        f"Keep {v['legacy']} for now and settle this first: {why}"
    ),
    FactCode.NO_CONCLUSION: lambda v, why: (
        f"No conclusion on replacing {v['legacy']} by {v['candidate']} is allowed: {why}"
    ),
    FactCode.CAUTION: lambda v, why: f"Caution: {why}",
    FactCode.SELF_TEST_FAILED: lambda v, why: (
        f"The gate's self-test failed, part {v['part']} ({SELF_TEST_TITLES[v['part']]}): {why}"
    ),
    FactCode.EVIDENCE_UNSOUND: lambda v, why: f"the evidence allows no conclusion: {why}",
    FactCode.FINDING_UNSOUND: lambda v, why: f"a finding allows no conclusion: {why}",
}

_KINDS = {
    "fit_time": "fit",
    "load_time": "weights to load",
    "checkpoint_bytes": "stored weights",
    "code_lines": "lines of its own",
}
"""What an arm may not have, so that a cost has no ratio."""

_REASONS: dict[ReasonCode, Callable[[Values], str]] = {
    ReasonCode.ONE_ORIGIN: lambda v: f"{v['origins']} origin allows no statement about uncertainty",
    ReasonCode.NO_NUMBER: lambda v: (
        f"{v['missing']} of {v['losses']} losses of {v['arm']} have no number"
    ),
    ReasonCode.CONSTANT: lambda v: "the losses are the same on every origin: no uncertainty",
    ReasonCode.NO_BOUNDS: lambda v: (
        "legacy's loss cannot be told apart from 0, so a ratio has no bounds"
    ),
    ReasonCode.CROSSES: lambda v: "the interval reaches across the bound",
    ReasonCode.METHODS_DISAGREE: lambda v: (
        f"the methods disagree: the t test says {_SAID[v['test']]}, the block bootstrap says "
        f"{_SAID[v['bootstrap']]}"
    ),
    ReasonCode.SEEDS_DISAGREE: lambda v: (
        f"the seeds that were run say {_SAID[v['said']]}, but they differ so much among "
        "themselves that other seeds may not"
    ),
    ReasonCode.MAY_CLUSTER: lambda v: "hits may cluster for longer than the sample shows",
    ReasonCode.NO_SCORES: lambda v: "one side has no scores: nothing to compare",
    ReasonCode.NO_SCORES_OF: lambda v: (
        f"{v['dataset']}: {v['arm']} has no scores, so nothing is set against it"
    ),
    ReasonCode.NO_METRIC: lambda v: (
        f"{v['arm']} on {v['dataset']}, seed {v['seed']}, has no scores for {v['loss']}"
    ),
    ReasonCode.OTHER_DATASETS: lambda v: (
        f"{' and '.join(v['sides'])} were scored on {' and '.join(v['datasets'])}"
    ),
    ReasonCode.ORIGIN_TWICE: lambda v: (
        f"{_paired(v, 'cannot be paired')}: {v['arm']} holds the same origin twice"
    ),
    ReasonCode.OTHER_ORIGINS: lambda v: _paired(v, "were judged at different origins"),
    ReasonCode.OTHER_DATES: lambda v: _paired(v, "have different dates at the same origins"),
    ReasonCode.OTHER_STEPS: lambda v: _paired(v, "were judged at different steps"),
    ReasonCode.OTHER_ACTUALS: lambda v: _paired(v, "were judged against different actuals"),
    ReasonCode.NO_REFERENCE_ARM: lambda v: "the experiment has no reference arm",
    ReasonCode.NO_QUANTILES: lambda v: f"{v['arm']} has no quantiles on {v['dataset']}",
    ReasonCode.NO_SLICE: lambda v: (
        f"no slice '{v['slice']}'; there are {listing(v['known'])} and any "
        f"steps:FIRST-LAST within {v['first']}-{v['last']}"
    ),
    ReasonCode.SMALL_SLICE: lambda v: (
        f"the slice {v['slice']} selects {v['windows']} windows, too few to judge"
    ),
    ReasonCode.NO_STEPS: lambda v: (
        f"not all of steps {list(v['steps'])} of '{v['slice'] or 'all'}' were judged"
    ),
    ReasonCode.LOSSES_MISSING: lambda v: "there are losses without a number",
    ReasonCode.WINDOWS_MISSING: lambda v: f"{v['windows']} of {v['of']} windows have no number",
    ReasonCode.FEW_ORIGINS: lambda v: "too few origins, or no variance",
    ReasonCode.FEW_KNOWN: lambda v: (
        f"fewer than {v['least']} origins with a known loss before them, or no variance"
    ),
    ReasonCode.FEW_FOR_OVERLAP: lambda v: "too few origins for the overlap, or no variance",
    ReasonCode.FEW_APART: lambda v: f"only {v['origins']} origins that share no session",
    ReasonCode.NO_SESSION: lambda v: "not measured; `abharness measure` takes it",
    ReasonCode.SESSION_UNREADABLE: lambda v: f"cannot be read: {v['said']}",
    ReasonCode.SESSION_FAILED: lambda v: str(v["said"]),
    ReasonCode.NOT_IN_SESSION: lambda v: "this session did not take it",
    ReasonCode.NOTHING_OF_KIND: lambda v: (
        f"{'the baseline has' if v['sides'] == 'baseline' else 'both arms have'} no "
        f"{_KINDS[v['cost']]}: there is no ratio"
    ),
    ReasonCode.NO_PEAKS: lambda v: str(v["said"]),
    ReasonCode.NOTHING_TIMED: lambda v: (
        f"{v['arm']} forecast no window of the plan while it was timed"
    ),
    ReasonCode.TIMED_OTHERWISE: lambda v: (
        f"{v['arm']}, timed {'one window at a time' if v['mode'] == 'single' else 'in batches'}, "
        f"does not forecast what its unit holds: {v['by']:.3g} "
        + (
            "standard errors of its draws apart on average"
            if v["unit"] == "errors"
            else "standard deviations of a session's change apart at most"
        )
        + (" (its unit was trained on another machine)" if v["elsewhere"] else "")
    ),
    ReasonCode.REMEMBERS_INPUTS: lambda v: (
        f"{v['arm']} remembers inputs: one it has seen takes {v['share']:.2f} of the time of a "
        "new one"
    ),
    ReasonCode.MACHINE_BUSY: lambda v: (
        f"the machine was busy {v['when']} it was timed: others kept {v['others']:.2f} of "
        f"{v['cores']} cores, at most {v['most']:.2f} are accepted"
    ),
    ReasonCode.HOST_BUSY: lambda v: (
        f"the machine was busy {v['when']} it was timed: its host took {v['taken']:.2f} cores away"
    ),
}
