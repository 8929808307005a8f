"""What each fact of judging and the gate is called in words: one phrase a code, no more.

A finding that compares losses is worded from its comparison, see `reports.words.sentences`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from harness.costs import HIGHER_IS_BETTER
from harness.judging.fact import Fact, FactCode
from reports.words.numbers import in_sentence, listing, metric_name, plural, ratio
from reports.words.phrases import Phrase, Values, cell_of, filled, where_of, worse_of
from reports.words.reason_words import phrase

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
        return filled(_RESTING[found.code], {**found.values, "why": say(found.because)})
    return filled(_PHRASES[found.code], found.values)


def first_line(news: Sequence[Fact]) -> str:
    """What is new and what must be known of the data, in the line that everything begins with."""
    return "; ".join(map(say, news))


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


def _below_reference(v: Values) -> str:
    """Where a side has the larger loss than the reference: shown worse, or only not better."""
    shown = [row for row in v["rows"] if row[4] is not None and row[4] < 0]
    told = [
        f"{said} than {v['reference']}: {worse_of(rows)}"
        for said, rows in (
            ("is shown worse", shown),
            ("does no better", [row for row in v["rows"] if row not in shown]),
        )
        if rows
    ]
    return f"{v['arm']} {'; it '.join(told)}."


def _asked_otherwise(v: Values, *, repeats: bool = True) -> str:
    """What a fit answered when it was asked again, and what that shows."""
    apart = "no forecast"
    if v["apart"] is not None:
        apart = f"a forecast {in_sentence(v['apart'])} of the price away from the stored one"
    how, shows = {
        "in order": (
            "alone, on the rows up to its origin and no more",
            "what is stored used later sessions, or it keeps something between calls",
        ),
        "under other dates": (
            "on the same rows with all dates moved by 28 years",
            "it looks something up by date, or keeps something between calls",
        ),
        "at other prices": (
            "on the same rows in another unit",
            "it looks something up by price, has a fixed unit, or keeps something between calls",
        ),
    }[v["way"]]
    place = cell_of(v)
    if not repeats:
        shows = (
            "asked the same twice, it answered otherwise, so whether it knows the future cannot "
            "be told; it draws random numbers or keeps something between calls: declare "
            "`draws = True` with `seed`, or make it repeatable"
        )
    return f"asked again {how}, {place} gives {apart} (last session seen {v['at']}): {shows}."


def _changes(v: Values) -> str:
    """Rules that were dropped, and those that are others now."""
    said = [f"{name} was dropped" for name in v["dropped"]]
    said += [f"{name} is {now} (was {before})" for name, before, now in v["others"]]
    return ", ".join(said)


def _gap(v: Values) -> str:
    """What the other reading of samples would change."""
    other = v["gap"] if v["drawn"] else 1 / (1 + v["gap"]) - 1
    return f"{in_sentence(abs(other))} {'higher' if other > 0 else 'lower'}"


def _new_origins(v: Values) -> str:
    noun = "origin" if v["origins"] == 1 else "origins"
    return f"{v['origins']} new independent {noun}"


def _guardrails_hold(v: Values) -> str:
    """That every guardrail holds, but for waived ones; one alone is not called all."""
    if v["waived"]:
        return "all is shown to hold"
    if v["guardrails"] == 1:
        return "its one guardrail is shown to hold"
    return f"all {v['guardrails']} guardrails are shown to hold"


_PHRASES: dict[FactCode, Phrase] = {
    FactCode.NO_LOOK: (
        "not decided, too little of the error rate may be spent by now for a look at it"
    ),
    FactCode.NOT_BEYOND_YET: lambda v: (
        f"not decided, it lies beyond its limit (p {v['p']:.2g}), and a REJECT "
        + (
            "cannot be shown at this look"
            if v["level"] is None
            else f"asks for at most {v['level']:.2g} at this look: all rules share its error rate"
        )
    ),
    FactCode.SHOWN_BEFORE: "shown to hold at the look of {since}",
    FactCode.NOT_COMPARED: lambda v: f"{where_of(v)} was not compared: {phrase(v['problem'], v)}.",
    FactCode.ALL_WINDOWS_FAILED: "{_where}: {arm} failed every window, so nothing was compared.",
    FactCode.NO_LOSS_TO_SHARE: (
        "{_where}: {arm}'s loss is as good as 0 (at most {most:g} of the last value), so a margin "
        "that is a share of it means nothing."
    ),
    FactCode.NO_REFERENCE: "{_where}: there is no reference arm to compare with.",
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
    FactCode.NOTHING_COMPARED: "Nothing was compared.",
    FactCode.GRID_EMPTY: "The declared grid is empty: nothing was compared.",
    FactCode.GRID_WITHOUT_ARM: "The declared grid has no {arm} on {dataset}.",
    FactCode.CELLS_MISSING: lambda v: (
        f"{len(v['cells'])} of {v['declared']} declared cells have no scores: "
        + "; ".join(cell_of({"arm": a, "dataset": d, "seed": s}) for a, d, s in v["cells"][:3])
        + ("; ..." if len(v["cells"]) > 3 else "")
        + "."
    ),
    FactCode.CELL_TWICE: "{_cell} has scores {times} times.",
    FactCode.CELL_NOT_DECLARED: "{_cell} has scores but was not declared.",
    FactCode.EVIDENCE_NOT_THERE: (
        "The policy declares evidence on {dataset}, and the grid has none there."
    ),
    FactCode.FEW_SEEDS: "The policy declares {asked} seeds, and the pair was run with {found}.",
    FactCode.FEWER_ORIGINS: "The policy declares {asked} origins, and {dataset} has {found}.",
    FactCode.OTHER_ACTUALS: (
        "On {dataset} not all arms were judged against the same actuals and origins."
    ),
    FactCode.OFF_STRIDE: "{_cell}: origins are not every {stride} sessions, as the plan says.",
    FactCode.FAILED_T10: (
        "later sessions it has seen change its forecasts of a made-up series (T10)."
    ),
    FactCode.ASKED_OTHERWISE: _asked_otherwise,
    FactCode.NOT_REPEATABLE: partial(_asked_otherwise, repeats=False),
    FactCode.UNIT_UNREADABLE: "{_cell}: a stored unit cannot be read: {problem}.",
    FactCode.SCORES_CONFLICT: (
        "{_cell}: has other scores than in the earlier verdict {verdicts:and}, though nothing "
        "that decides them changed and no part was given up: an error of the pipeline or of its "
        "store."
    ),
    FactCode.IMPLAUSIBLE: lambda v: (
        f"on {v['dataset']} {v['arm']} is {in_sentence(v['skill'])} better than {v['reference']} "
        f"by {metric_name(v['metric'])}{' at the first step' if v['first'] else ''}: more than "
        f"{in_sentence(v['most'])} is implausible; look for a leak."
    ),
    FactCode.CONTAMINATED: (
        "{share:share} of the origins on {dataset} lie before the pretraining cut-off of {arm}, "
        "{said}: it may have seen what it is judged on."
    ),
    FactCode.PARTLY_COMPARED: (
        "on {dataset} {arm} is set against {reference} without the {windows:windows} that one of "
        "them failed."
    ),
    FactCode.ONE_SEED: (
        "{arm} was run with one seed: how much another would change is in no interval."
    ),
    FactCode.PART_GIVEN_UP: (
        "{_cell}: a damaged part of its forecasts was given up and forecast again: {why}"
    ),
    FactCode.MAINTENANCE: lambda v: (
        f"{cell_of(v)}: another installation since {v['day']} ({v['changed']}): "
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
    FactCode.ALL_SEEN_IN_TRAINING: (
        "all {of} origins on {dataset} begin on or before {until}, the last session that the "
        "weights of {arm} have seen: let the plan begin later"
    ),
    FactCode.HAND_PICKED_SEEDS: (
        "run with {ran:seeds}; the experiment declares {declared:seeds}: a verdict on hand-picked "
        "seeds is not the declared one."
    ),
    FactCode.FAR_FROM_PRICES: (
        "on {dataset} the point path of {arm} (seed {seed}) is nowhere near the prices: its middle "
        "is {middle:.4g}, that of the last prices {last:.4g}. It is broken, or its scaling was "
        "never undone."
    ),
    FactCode.LONG_MEMORY: lambda v: (
        where_of(v)
        + (f" and {plural(v['others'], 'other rule')} there" if v["others"] else "")
        + (
            ": hits and misses may cluster for longer than so few origins show"
            if v["clusters"]
            else f": good and bad spells {'last' if v['done'] else 'may last'} (long memory, order "
            f"{v['memory']:.2f} \u00b1 {v['error']:.2f})"
        )
        + ", so the bounds of this rule "
        + (
            f"were made {v['wider']:.1f} times as wide, which may not be enough."
            if v["done"]
            else f"may really be {v['wider']:.1f} times as wide; its result "
            + ("would be the same." if v["stands"] else "would not hold.")
        )
    ),
    FactCode.NEARLY_BEYOND: lambda v: (
        where_of(v)
        + (f" and {plural(v['others'], 'other rule')} there" if v["others"] else "")
        + f": over the last {v['origins']} origins alone, since {v['since']}, the effect is "
        f"{in_sentence(v['effect'], signed=True)} with a standard error of "
        f"{in_sentence(v['error'])}. So near to the limit of "
        f"{in_sentence(v['bound'], signed=True)}, a change for the worse could be missed."
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
    FactCode.QUANTILES_CROSSED: (
        "on {dataset} the quantiles of {arm} came out of order in {share:share} of the cells and "
        "were sorted before they were scored: their labels or axes may be exchanged."
    ),
    FactCode.FEW_ORIGINS_ASKED: (
        "the policy asks for {asked} non-overlapping origins only; with fewer than {sound} no "
        "bound keeps its error rate."
    ),
    FactCode.BELOW_REFERENCE: _below_reference,
    FactCode.NO_REFERENCE_ARM: (
        "no reference arm was run, so nothing tells whether a random walk would do as well as "
        "{candidate} or {legacy}."
    ),
    FactCode.CHANGED_SINCE: lambda v: (
        f"{listing(v['what'])} changed after the first results were in (recorded {v['at']}): "
        f"{_changes(v) or 'the rules did not'}. Whoever knew the results may have chosen by them."
    ),
    FactCode.STRAW_MAN: (
        "{legacy} is shown worse than {reference}: {rows:worse}. Beating it proves little, and "
        "{reference} would do as well."
    ),
    FactCode.WORSE_BESIDE: (
        "by losses that no rule names {arm} is shown worse than {legacy}: {rows:worse}."
    ),
    FactCode.COVERS_OTHERWISE: (
        "{arm} is shown not to cover what its intervals promise, and no rule judges them: "
        "{rows:covered}."
    ),
    FactCode.UNJUDGED: "no guardrail judges the losses on {datasets:and} as a whole.",
    FactCode.PLACEBO_DOUBTS: (
        "on {dataset} {arm} is {skill:share} better than {reference}, and {placebo:signed} on a "
        "made-up continuation that stands on no disk: it may know the data, or be good at what "
        "blocks of returns do not keep."
    ),
    FactCode.NOT_TESTED: lambda v: (
        f"{v['arm']} was not shown to be blind to the future; not tested: "
        f"{', '.join(v['tests']) or 'anything'}."
    ),
    FactCode.RECORDS_WORD: (
        "the forecasts of {arm} are records: only the issue times in its file say that it had not "
        "seen what came, which cannot be tested."
    ),
    FactCode.WIDE_MARGINS: lambda v: (
        f"the policy allows more than {in_sentence(v['most'])}: "
        + ", ".join(f"{metric_name(name)} {in_sentence(margin)}" for name, margin in v["rules"])
        + "."
    ),
    FactCode.LAX_ALPHA: (
        "the policy lets {alpha:share} of unfit candidates pass a guardrail; more than "
        "{most:share} is hardly a test."
    ),
    FactCode.LAX_IMPLAUSIBLE: (
        "the policy doubts a gain over the reference from {skill:share} on only; {most:share} is "
        "the default."
    ),
    FactCode.BROAD_WAIVER: "a waiver of '{finding}' names no single finding; it lifts {waived}.",
    FactCode.LONG_WAIVER: (
        "a waiver of {finding} holds until {until}, for {days:,} more days; more than {most} is no "
        "longer for a while."
    ),
    FactCode.DATE_PAST: (
        "waivers are held against {date}, a day that was past when the verdict was passed."
    ),
    FactCode.BEHIND_REFERENCE: (
        "{arm} is shown worse than {reference} by more than the margin: {_rules}."
    ),
    FactCode.UNJUDGED_WORSE: (
        "where no guardrail judges losses as a whole {arm} is shown worse than {legacy}: "
        '{rows:worse}; `unjudged = "allow"` in the policy accepts that.'
    ),
    FactCode.ALL_WAIVED: "every guardrail on a loss is waived, so nothing is judged.",
    FactCode.BROKEN: "{candidate} must not replace {legacy}: shown broken are {_rules}.",
    FactCode.GUARDRAILS_OPEN: lambda v: (
        f"Whether {v['candidate']} may replace {v['legacy']} is not decided: "
        + (
            "its one guardrail"
            if v["guardrails"] == 1
            else f"{v['open']} of {v['guardrails']} guardrails"
        )
        + f" {'is' if v['open'] == 1 else 'are'} open."
    ),
    FactCode.RULES_OPEN: (
        "Whether {candidate} may replace {legacy} is not decided: open are {_rules}."
    ),
    FactCode.NO_GAIN_YET: (
        "{candidate} keeps every guardrail, but no gain over {legacy} is shown yet."
    ),
    FactCode.ALL_HOLD: lambda v: (
        f"{v['candidate']} may replace {v['legacy']}: "
        + _guardrails_hold(v)
        + (" and a gain is shown" if v["gain"] else "")
        + (f", but for {plural(v['waived'], 'waived finding')}" if v["waived"] else "")
        + "."
    ),
    FactCode.FIRST_VERDICT: lambda v: (
        f"the first verdict{f' of attempt {n}' if (n := v['attempt']) > 1 else ''}: {v['outcome']}"
    ),
    FactCode.NOTHING_NEW: lambda v: (
        f"nothing new since {v['since']}: {v['outcome']}"
        + (
            f", next independent origin in {plural(v['wait'], 'session')}"
            if v["wait"] is not None
            else ""
        )
    ),
    FactCode.STILL: lambda v: f"{_new_origins(v)}: still {v['outcome']}",
    FactCode.BECAME: lambda v: f"{v['before']} became {v['outcome']}: {_new_origins(v)}",
    FactCode.BECAME_OTHERWISE: (
        "{before} became {outcome}: no new origin, asked or computed otherwise"
    ),
    FactCode.NO_VERDICT: lambda v: (
        f"no conclusion: {v['outcome']}" + (f", {v['before']} before" if v["before"] else "")
    ),
    FactCode.NOT_UPDATED: "data not updated: {dataset}: {why}",
    FactCode.DATA_OLD: (
        "caution: {dataset} ends on {last}, {lacking:sessions} ago by its calendar (`abharness "
        "data update {dataset} FILE` adds some)"
    ),
    FactCode.TRIED_BEFORE: lambda v: (
        f"this is attempt {v['attempt']} on origins judged before, first on {v['since']}; changed "
        f"since the attempt before it: {', '.join(v['what'])}. "
        + (
            "Trying again until something passes makes a wrong PROMOTE likely."
            if v["share"] is None
            else f"It has {in_sentence(v['share'])} of the error rate."
        )
    ),
    FactCode.RECORDS_LOST: (
        "the store's records before {at} were lost ({why}), and with them how often these origins "
        "were judged: this counts as a new attempt, of an unknown number."
    ),
    FactCode.ATTEMPTS_USED: lambda v: (
        f"the error rate of these origins was used up by the attempts before this one, number "
        f"{v['attempt']}: "
        + (
            f"only the {v['origins']} origins forecast before their outcome, since {v['since']}, "
            "decide, at the whole error rate."
            if v["origins"]
            else "nothing can be promoted on them, only on origins forecast before their outcome."
        )
    ),
    FactCode.NOTHING_TO_TEST: "nothing was compared",
    FactCode.NO_LOSS_TO_PLANT: "there is no criterion on a mean loss to plant in",
    FactCode.ITSELF_REJECTED: "legacy against itself is shown worse by {findings:list}",
    FactCode.TOO_MANY_ALARMS: lambda v: (
        f"{v['dataset']} {metric_name(v['metric'])}: exchanged arms are shown worse in "
        f"{v['alarms']} of {v['exchanges']} cases at a level of {100 * v['alpha']:g} %"
    ),
    FactCode.ITSELF_TIES: (
        "{findings} rules tie; of {exchanges} random exchanges at most {alarms} alarm (allowed "
        "{allowed})"
    ),
    FactCode.WORSE_PROMOTED: "losses worse than the margin pass {findings:list}",
    FactCode.MUCH_WORSE_NOT_REJECTED: "losses twice as large pass {findings:list}",
    FactCode.NONE_ABLE_TO_REJECT: (
        "a little worse is not promoted; no guardrail has the evidence to reject"
    ),
    FactCode.MUCH_WORSE_NO_REJECT: "losses twice as large on every criterion are not a REJECT",
    FactCode.WORSE_HELD_BACK: (
        "losses a little worse pass none of {guardrails} guardrails; losses much worse are "
        "rejected by {able} of {guardrails}, those with enough evidence"
    ),
    FactCode.GAIN_NOT_PROMOTED: "losses half as large are not shown better by {findings:list}",
    FactCode.GAIN_PARTLY_PROMOTED: (
        "a planted gain is shown by {able} of {findings} rules, those with enough evidence"
    ),
    FactCode.NONE_ABLE_TO_PROMOTE: "no rule has enough evidence to show a planted gain",
    FactCode.GAIN_NO_PROMOTE: "losses half as large on every criterion are not a PROMOTE",
    FactCode.GAIN_PROMOTED: "all {findings} rules show a planted gain, and the whole is a PROMOTE",
    FactCode.STILL_CONCLUDED: "without a cell of {arm} the verdict is {outcome}",
    FactCode.REFUSED_WITHOUT_CELL: "without a cell of {arms:list} there is no conclusion",
    FactCode.NOT_MIRRORED: "{dataset} {metric:metric}: {effect} one way, {back} back",
    FactCode.MIRRORED: "{findings} rules give the mirrored result",
    FactCode.NO_BOUNDS_TO_MIRROR: "no criterion on a loss has bounds in both directions",
    FactCode.SAME_BYTES: "the same bytes",
    FactCode.OTHER_BYTES: "another order, other bytes",
    FactCode.NO_PREDICTION: (
        "no prediction: {origins} non-overlapping origins, fewer than the {least} it takes"
    ),
    FactCode.TIED: "not known: these arms tie",
    FactCode.STORED_SCORES: "stored scores of {candidate} and {legacy}",
    FactCode.STAND_INS: (
        "{arms:and}, run here in place of a pair that is not stored yet; the seeds of arms that "
        "learn are not in it"
    ),
    FactCode.INPUTS_EDITED: "inputs: are not those the verdict names",
    FactCode.POLICY_EDITED: "fingerprints: policy does not fit the policy",
    FactCode.MEANING_EDITED: "fingerprints: meaning does not fit its parts",
    FactCode.FILE_DIFFERS: lambda v: (
        f"verdict.json: is not as it was drawn from the record of {v['name']}: "
        + ", ".join(map(str, v["places"][:5]))
    ),
    FactCode.SCORES_GONE: "scores of {_cell}: {problem}",
    FactCode.SCORES_DIFFER: "scores of {_cell}: other numbers than then",
    FactCode.VALUE_DIFFERS: "{place}: recorded {recorded}, judged again {again}",
    FactCode.LAYOUT_DIFFERS: "layout: the same content is written in other bytes",
    FactCode.OTHER_CODE: "the verdict was passed by other code than this",
}

_RESTING: Mapping[FactCode, Phrase] = {
    FactCode.READS_AHEAD: "{arm} knows what it cannot know: {why}",
    FactCode.HELD_BACK: (
        "Every rule is shown to hold, and whether {candidate} may replace {legacy} is not decided: "
        "{why}"
    ),
    FactCode.NO_CONCLUSION: "No conclusion on replacing {legacy} by {candidate} is allowed: {why}",
    FactCode.CAUTION: "Caution: {why}",
    FactCode.SELF_TEST_FAILED: lambda v: (
        f"The gate's self-test failed, part {v['part']} ({SELF_TEST_TITLES[v['part']]}): "
        f"{v['why']}."
    ),
    FactCode.EVIDENCE_UNSOUND: "the evidence allows no conclusion: {why}",
    FactCode.FINDING_UNSOUND: "a finding allows no conclusion: {why}",
}
