"""Requirements that stored results of the battery answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from shlex import quote
from typing import Any, Literal

from harness.checks.predicate import CheckRecord, Kind, number_of
from harness.checks.subject import LEGACY_NETWORKS, NETWORKS
from harness.claims.claim import Answer, ClaimEvidence, Measurement, Requirement

Side = Literal["candidate", "baseline"]

ADVANCED = LEGACY_NETWORKS[2:]
SAMPLING = "BayesianEnhancedAutoformer"
"""The legacy network with the sampling loop."""
_ROLES = {"candidate": "candidate", "baseline": "legacy"}


def is_own(record: CheckRecord) -> bool:
    """Whether a network is the user's, not one of ours."""
    return record.kind == "network" and record.use not in NETWORKS.values()


def model_of(record: CheckRecord) -> str:
    """Which model a user's own network is: what its arm builds, else its module, else its class."""
    model = record.options.get("model")
    if isinstance(model, str):
        return model
    module, _, name = record.use.partition(":")
    last = module.rpartition(".")[2]
    return name if name in NETWORKS else last or name


def checks_of(found: ClaimEvidence, side: Side, on: Kind | None) -> list[CheckRecord]:
    """Stored checks of a side, current or not.

    Parameters
    ----------
    on
        As a network or as an arm; None is networks where there are current ones, else arms.
    """
    arm = found.arms.get(side)
    if arm is None:
        return []
    arms = [
        each
        for each in found.checks
        if (each.kind, each.target, each.use) == ("arm", arm.name, arm.use)
        and _written(each.options) == _written(arm.options)
    ]
    networks = []
    if _file_given(found, side):
        named = arm.network.target if arm.network is not None else ""
        networks = [
            each
            for each in found.checks
            if is_own(each) and each.role == _ROLES[side] and model_of(each) == named
        ]
    elif arm.network is not None:
        network = arm.network
        networks = [
            each
            for each in found.checks
            if (each.kind, each.target, each.use) == ("network", network.target, network.use)
            and network.is_tried_with(each.options)
        ]
    if on is None:
        return networks if any(each.current for each in networks) else networks + arms
    return networks if on == "network" else arms


def _written(options: Mapping[str, Any]) -> str:
    """Options as JSON has them: what a table in a file and a stored record have in common."""
    return json.dumps(dict(options), sort_keys=True, default=str)


def _file_given(found: ClaimEvidence, side: Side) -> bool:
    """Whether the user's checkout holds a model of the name of the side's network."""
    arm = found.arms.get(side)
    network = arm.network if arm is not None else None
    return network is not None and not network.builds and network.target in found.checkout


def _current(records: Sequence[CheckRecord]) -> list[CheckRecord]:
    return [each for each in records if each.current]


def _beside(found: ClaimEvidence, side: Side, on: Kind | None) -> list[CheckRecord]:
    """Current checks of other networks that were tried as being on a side."""
    if on == "arm":
        return []
    mine = [each.key for each in checks_of(found, side, "network")]
    tried = [each for each in _current(found.checks) if each.kind == "network"]
    return [each for each in tried if each.role == _ROLES[side] and each.key not in mine]


def _why_none(found: ClaimEvidence, side: Side, on: Kind | None) -> str:
    """Why no stored check is about a side; '' where one is, or nothing more can be said."""
    records, arm = checks_of(found, side, on), found.arms.get(side)
    if records:
        return "" if _current(records) else "the stored check is of different code"
    if arm is None:
        return ""
    if on == "network" and arm.network is None:
        return f"no network stands for {arm.name}: its class names none"
    if arm.network is not None and _file_given(found, side):
        return f"the checkout's own {arm.network.target} was not tried"
    for each in found.checks:
        network = arm.network if each.kind == "network" else None
        name = arm.name if network is None else network.target
        if each.target == name and on in (None, each.kind):
            return f"the stored check of {each.target} is of different options or code"
    return ""


def _commands(found: ClaimEvidence, side: Side, on: Kind | None) -> tuple[str, ...]:
    """The command that tries a side; none where its class offers no network to try."""
    arm = found.arms.get(side)
    if arm is None or (on == "network" and arm.network is None):
        return ()
    place = f"--experiment {quote(found.experiment)}"
    if on == "arm" or arm.network is None:
        return (found.check_command(f"{quote(arm.name)} --as arm {place}"),)
    if _file_given(found, side):
        return (found.checkout_command(arm.network.target, _ROLES[side]),)
    if arm.network.builds:
        return (found.check_command(f"{quote(arm.name)} --as network {place}"),)
    options = arm.network.options.items()
    given = [f"--option {quote(f'{name}={json.dumps(value)}')}" for name, value in options]
    return (found.check_command(" ".join([quote(arm.network.target), *given])),)


def passes(side: Side, *codes: str, on: Kind | None = None) -> Requirement:
    """Every predicate of `codes` passes on a side.

    At whatever sizes it was asked; where it did not apply decides nothing.

    Parameters
    ----------
    on
        As a network or as an arm; None is whichever was asked, the network first.
    """

    def ask(found: ClaimEvidence) -> Answer:
        records, beside = _current(checks_of(found, side, on)), _beside(found, side, on)
        rows, why, held, untried = list[Measurement](), list[str](), list[bool | None](), False
        for code in codes:
            said = _results(records, code)
            holds = [each.holds for each in said]
            held.append(False if False in holds else True if True in holds else None)
            if not said:
                untried = True
                why.append(f"{code} was not tried")
            elif held[-1] is None:
                why += [f"{code}: {each.said}" for each in said]
            rows += [*said, *(_shown_only(each, side) for each in _results(beside, code))]
        if False in held or None not in held:
            return Answer(holds=False not in held, measured=tuple(rows))
        commands = _commands(found, side, on) if untried else ()
        reason = _why_none(found, side, on) or "; ".join(why)
        return Answer.missing(reason, *commands, measured=rows)

    form = {"network": "network of the candidate", "arm": f"arm of the {side}", None: side}[on]
    return Requirement(text=f"the {form} passes {', '.join(codes)}", ask=ask)


def _results(records: Sequence[CheckRecord], code: str) -> list[Measurement]:
    found = []
    for record in records:
        result = record.result(code)
        if result is None:
            continue
        value = result.measured.get("value")
        measurement = Measurement(
            what=f"{result.code}, {result.title}: {result.outcome}",
            value=value,
            unit=f"(wanted {result.wanted})" if value is not None else "",
            arm=record.target,
            source=_source(record),
            said=result.reason,
            holds={"pass": True, "fail": False, "error": False}.get(result.outcome),
        )
        found.append(measurement)
    return found


def _source(record: CheckRecord) -> str:
    return f"check {record.key[:12]}"


def _shown_only(row: Measurement, side: Side = "candidate") -> Measurement:
    """A network that does not stand for a side: shown, and of no weight."""
    return replace(row, holds=None, said=f"for comparison only: does not stand for the {side}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyNetwork:
    """A legacy network, as the user's own code or else as our faithful rebuild.

    Attributes
    ----------
    name
        Of the model.
    label
        Whose build it is, in words.
    records
        Current checks, at whatever sizes.
    repaired
        Current checks of our repaired build: no original ever ran as that, so they do not count.
    stale
        Whether there are checks, all of other code.
    command
        What tries it.
    """

    name: str
    label: str
    records: tuple[CheckRecord, ...]
    repaired: tuple[CheckRecord, ...]
    stale: bool
    command: str

    @property
    def failing(self) -> tuple[str, ...]:
        """Codes that fail at any size, each once."""
        return tuple(sorted({c for r in self.records for c in r.failing}, key=number_of))

    def row(self) -> Measurement:
        """How many predicates it fails, and which."""
        return Measurement(
            what=f"failing predicates of {self.label}",
            value=len(self.failing),
            arm=self.name,
            source=_source(self.records[0]),
            said=" ".join(self.failing),
        )

    def repaired_rows(self) -> list[Measurement]:
        """The same of the repaired build, which does not count."""
        return [
            Measurement(
                what="failing predicates of our repaired build, for comparison only",
                value=len(each.failing),
                arm=self.name,
                source=_source(each),
                said=" ".join(each.failing),
            )
            for each in self.repaired
        ]


def legacy_networks(
    found: ClaimEvidence, names: Sequence[str] = LEGACY_NETWORKS
) -> list[LegacyNetwork]:
    """The legacy networks of some names, and the user's own of other names.

    A user's own network goes before our rebuild of its name; where the checkout holds one of that
    name, our rebuild never stands for it.
    """
    own = [each for each in found.checks if is_own(each) and each.role == "legacy"]
    others = dict.fromkeys(model_of(each) for each in own if model_of(each) not in LEGACY_NETWORKS)
    networks = []
    for name in [*names, *(others if set(names) == set(LEGACY_NETWORKS) else ())]:
        theirs = [each for each in own if model_of(each) == name]
        ours = [
            each
            for each in found.checks
            if (each.kind, each.target, each.use) == ("network", name, NETWORKS.get(name))
        ]
        faithful = [each for each in ours if not _repairs(each)]
        in_checkout = name in found.checkout
        used = theirs if in_checkout or _current(theirs) else faithful
        command = found.check_command(quote(name))
        networks.append(
            LegacyNetwork(
                name=name,
                label="your own network" if used is theirs else "our faithful rebuild",
                records=tuple(_current(used)),
                repaired=tuple(each for each in _current(ours) if _repairs(each)),
                stale=bool(used),
                command=found.checkout_command(name, "legacy") if in_checkout else command,
            )
        )
    return networks


def _repairs(record: CheckRecord) -> bool:
    """Whether a legacy network was tried with any of its repairs switched on."""
    options = record.options.items()
    return any(value is True for key, value in options if not key.startswith("config."))


def _missing(networks: Sequence[LegacyNetwork]) -> tuple[str, tuple[str, ...]]:
    """Why networks have no current check, and the commands that try them; '' where all have."""
    left = [each for each in networks if not each.records]
    never = ", ".join(each.name for each in left if not each.stale)
    stale = ", ".join(each.name for each in left if each.stale)
    why = [f"not tried: {never}"] if never else []
    why += [f"the stored check is of different code: {stale}"] if stale else []
    return "; ".join(why), tuple(each.command for each in left)


def legacy_fails(least: int) -> Requirement:
    """Legacy networks fail at least so many predicates; one that several fail counts once."""

    def ask(found: ClaimEvidence) -> Answer:
        networks = legacy_networks(found)
        tried = [each for each in networks if each.records]
        why, commands = _missing(networks)
        codes = {code for each in tried for code in each.failing}
        enough = len(codes) >= least
        whole = Measurement(
            what="distinct predicates that legacy networks fail",
            value=len(codes),
            unit=f"on {len(tried)} of {len(networks)} networks",
            said=" ".join(sorted(codes, key=number_of)),
            holds=True if enough else None if why else False,
        )
        rows = [whole, *(each.row() for each in tried)] if tried else []
        rows += [row for each in networks for row in each.repaired_rows()]
        if enough or not why:
            return Answer(holds=enough, measured=tuple(rows))
        return Answer.missing(why, *commands, measured=rows)

    text = f"legacy networks fail {least} or more distinct predicates"
    return Requirement(text=text, ask=ask)


def each_fails() -> Requirement:
    """Each of the advanced legacy networks fails at least one predicate."""

    def ask(found: ClaimEvidence) -> Answer:
        networks = legacy_networks(found, ADVANCED)
        tried = [each for each in networks if each.records]
        why, commands = _missing(networks)
        answer = Answer.of([replace(each.row(), holds=bool(each.failing)) for each in tried])
        if why and answer.holds is not False:
            return Answer.missing(why, *commands, measured=answer.measured)
        return answer

    return Requirement(text=f"each of {', '.join(ADVANCED)} fails a predicate", ask=ask)


def legacy_has(*codes: str) -> Requirement:
    """The legacy network that a defect is told of fails all of some predicates."""

    def ask(found: ClaimEvidence) -> Answer:
        (network,) = legacy_networks(found, [SAMPLING])
        rows, held = list[Measurement](), list[bool | None]()
        for code in codes:
            said = _results(network.records, code)
            failed = [None if each.holds is None else not each.holds for each in said]
            held.append(True if True in failed else False if False in failed else None)
            rows += [replace(row, holds=now) for row, now in zip(said, failed, strict=True)]
        if None not in held or False in held:
            return Answer(holds=False not in held, measured=tuple(rows))
        left = [code for code, each in zip(codes, held, strict=True) if each is None]
        why = _missing([network])[0] or f"{', '.join(left)} was not tried or does not apply"
        return Answer.missing(f"whether {SAMPLING} has it: {why}", network.command, measured=rows)

    return Requirement(text=f"the legacy {SAMPLING} fails {', '.join(codes)}", ask=ask)


def defects_gone() -> Requirement:
    """The candidate fails none of the predicates that a legacy network fails."""

    def ask(found: ClaimEvidence) -> Answer:
        networks = legacy_networks(found)
        why, commands = _missing(networks)
        codes = sorted({c for each in networks for c in each.failing}, key=number_of)
        records = _current(checks_of(found, "candidate", "network"))
        try_candidate = _commands(found, "candidate", "network")
        beside = _beside(found, "candidate", "network")
        others = [_shown_only(_carried_over(each, codes)) for each in beside]
        if not records or not codes:
            left = [] if codes else [f"no legacy network: {why}"]
            none = _why_none(found, "candidate", "network")
            left += [] if records else [none or "no network of the candidate was tried"]
            commands += () if records else try_candidate
            return Answer.missing("; ".join(left), *commands, measured=others if codes else ())
        answer = Answer.of([_carried_over(record, codes) for record in records])
        rows = [*answer.measured, *others]
        if answer.holds and why:
            return Answer.missing(why, *commands, measured=rows)
        if answer.holds is None:
            untried = "the candidate's network was not tried on all of them"
            return Answer.missing(untried, *try_candidate, measured=rows)
        return Answer(holds=answer.holds, measured=tuple(rows))

    return Requirement(
        text="the network of the candidate fails none of the predicates that legacy networks fail",
        ask=ask,
    )


def _carried_over(record: CheckRecord, codes: Sequence[str]) -> Measurement:
    results = [record.result(code) for code in codes]
    bad = [r.code for r in results if r is not None and r.outcome in ("fail", "error")]
    fine = sum(r is not None and r.outcome == "pass" for r in results)
    idle = sum(r is not None and r.outcome == "not applicable" for r in results)
    return Measurement(
        what=f"of {len(codes)} predicates that legacy networks fail, failed as well",
        value=len(bad),
        arm=record.target,
        source=_source(record),
        said=f"{fine} pass, {idle} do not apply" + (f"; failing {' '.join(bad)}" if bad else ""),
        holds=False if bad else None if None in results else True,
    )


def saved_and_loaded() -> Requirement:
    """The candidate's network offers `save_pretrained`, and comes back from it the same."""

    def ask(found: ClaimEvidence) -> Answer:
        rows = []
        for record in _current(checks_of(found, "candidate", "network")):
            result = record.result("T26")
            if result is None:
                continue
            gap = result.measured.get("save_pretrained")
            rows.append(
                Measurement(
                    what="forecast after save_pretrained and back, away by",
                    value=gap,
                    unit="of the output's scale" if gap is not None else "",
                    arm=record.target,
                    source=_source(record),
                    said=result.reason
                    if gap is not None
                    else "it offers no such calls, or they fail",
                    holds=gap is not None and result.outcome == "pass",
                )
            )
        if rows:
            return Answer.of(rows)
        why = _why_none(found, "candidate", "network") or "T26 was not tried"
        return Answer.missing(why, *_commands(found, "candidate", "network"))

    return Requirement(
        text="the network of the candidate comes back from save_pretrained and from_pretrained "
        "with the same forecast (in T26)",
        ask=ask,
    )
