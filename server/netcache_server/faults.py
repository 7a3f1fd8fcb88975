"""Faults on purpose: which requests they meet, and what is done to them.

A plan is a list of rules.  A rule matches requests by method, path and presence of ``Range``; of
the requests that match, the first ``skip`` pass, the next ``count`` are hit (all of them without
``count``).  Several rules may hit one request: their effects are joined, and where two set the
same effect the first one in the plan decides.

The JSON form is ``{"rules": [{...}, ...], "refuse_connections": false}``, or the list of rules
alone.  The keys of a rule are the fields of ``FaultRule``.

The plan is a value; what was counted lives in ``Faults``, which is safe to use from any thread.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from netcache_server.faultcheck import FaultPlanError, checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What is done to a request; every field's default is "nothing".

    Before the answer:
    ``latency_s``: wait so long before the headers.
    ``refuse``: close the connection without any answer, before anything is done.
    ``lose_reply``: do what was asked, then close the connection without any answer.
    ``status`` (with ``retry_after``): answer so, and do nothing.
    ``redirect`` (with ``redirect_status``): send the client there; ``{path}`` is the request's.

    Headers of a representation:
    ``content_range``: ``shifted`` (start and end are one too high), ``wrong_total`` (one too
    high), ``unknown_total`` (``*``, which is legal) or ``missing``; the body is what was asked.
    ``ignore_range``: answer 200 with everything, and announce no ranges.
    ``etag``: ``random`` (another one in each answer) or the text to send; conditions are still
    judged by the true one.
    ``validator``: ``weak`` (``W/`` before the etag), ``none``, ``last_modified_only`` or
    ``etag_only``; conditions are judged by what is left.
    ``omit_date``: no ``Date``.
    ``headers``, ``remove_headers``: set these, leave these out, last of all.

    The body:
    ``body``: ``long`` (the Content-Length is right, ``body_delta`` bytes follow after it, then
    the connection is closed), ``short`` (the Content-Length is right, so many bytes are missing
    when the connection is closed), ``long_declared`` and ``short_declared`` (the body has so
    many bytes more or less than it ought to, and the Content-Length says the same).
    ``content``: ``inverted`` sends every byte with all its bits turned over.
    ``content_encoding``: ``gzip`` sends it compressed, and says so, also in a 206.
    ``bandwidth``: bytes a second.
    ``cut_after``: close the connection after so many bytes of body; ``reset`` does it by RST.
    ``stall_after``: after so many bytes of body wait ``stall_s``, or until the client leaves.

    An upload:
    ``upload_bandwidth``: read so many bytes a second.
    ``upload_cut_after``: close the connection after so many bytes of the upload.

    (The requests of a resumable upload are a PUT of its target without a body, and then HEAD, PATCH
    and DELETE of ``/.netcache/uploads/*``.)
    """

    latency_s: float | None = None
    refuse: bool = False
    lose_reply: bool = False
    status: int | None = None
    retry_after: str | None = None
    redirect: str | None = None
    redirect_status: int = 302
    content_range: str | None = None
    ignore_range: bool = False
    etag: str | None = None
    validator: str | None = None
    omit_date: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    remove_headers: tuple[str, ...] = ()
    body: str | None = None
    body_delta: int = 16
    content: str | None = None
    content_encoding: str | None = None
    bandwidth: float | None = None
    cut_after: int | None = None
    reset: bool = False
    stall_after: int | None = None
    stall_s: float | None = None
    upload_bandwidth: float | None = None
    upload_cut_after: int | None = None

    @property
    def shapes_body(self) -> bool:
        """Whether the body cannot simply be handed to the kernel."""
        return any(
            value is not None
            for value in (
                self.body,
                self.content,
                self.content_encoding,
                self.bandwidth,
                self.cut_after,
                self.stall_after,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule(Effects):
    """Which requests to hit, and the effects on them.

    ``name``: appears in the request log.
    ``method``: one or several; none means all.
    ``path``: a glob over the decoded path, which begins with ``/``; ``*`` also matches ``/``.
    ``range``: only requests with (true) or without (false) a ``Range`` header.
    ``skip``, ``count``: of those that match, leave out the first, and hit so many.
    """

    name: str = ""
    method: tuple[str, ...] = ()
    path: str = "*"
    range: bool | None = None
    skip: int = 0
    count: int | None = None

    def matches(self, method: str, path: str, has_range: bool) -> bool:
        """Whether a request is one of those that this rule counts."""
        return (
            (not self.method or method in self.method)
            and (self.range is None or self.range is has_range)
            and fnmatchcase(path, self.path)
        )


NO_EFFECTS = Effects()
_EFFECT_FIELDS = tuple(fields(Effects))


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """The rules of a server, and whether it closes every connection as soon as it is made."""

    rules: tuple[FaultRule, ...] = ()
    refuse_connections: bool = False

    @classmethod
    def of(cls, plan: FaultPlan | Iterable[FaultRule] | None) -> FaultPlan:
        """A plan from a plan, from rules, or from nothing."""
        if plan is None:
            return cls()
        return plan if isinstance(plan, FaultPlan) else cls(tuple(plan))

    @classmethod
    def from_json(cls, text: str | bytes) -> FaultPlan:
        """Read the JSON form.  Raises ``FaultPlanError`` that names the rule and the key."""
        try:
            document = json.loads(text)
        except ValueError as error:
            raise FaultPlanError(f"fault plan: not JSON: {error}") from error
        if isinstance(document, list):
            document = {"rules": document}
        if not isinstance(document, dict):
            raise FaultPlanError("fault plan: expected an object with rules, or a list of rules")
        unknown = sorted(set(document) - {"rules", "refuse_connections"})
        if unknown:
            raise FaultPlanError(f"fault plan: unknown key {unknown[0]!r}")
        rules, refuse = document.get("rules", []), document.get("refuse_connections", False)
        if not isinstance(rules, list) or not isinstance(refuse, bool):
            raise FaultPlanError("fault plan: rules is a list, refuse_connections true or false")
        return cls(tuple(_rule(index, rule) for index, rule in enumerate(rules)), refuse)

    @classmethod
    def from_file(cls, path: str | Path) -> FaultPlan:
        """Read the JSON form from a file.  Raises ``FaultPlanError``."""
        try:
            text = Path(path).read_bytes()
        except OSError as error:
            raise FaultPlanError(f"fault plan: cannot read {path}: {error.strerror}") from error
        return cls.from_json(text)

    def to_json(self) -> str:
        """The JSON form; reading it gives an equal plan."""
        rules = [
            {
                item.name: getattr(rule, item.name)
                for item in fields(rule)
                if getattr(rule, item.name) != _default(item)
            }
            for rule in self.rules
        ]
        return json.dumps({"rules": rules, "refuse_connections": self.refuse_connections})


def _rule(index: int, document: object) -> FaultRule:
    where = f"fault plan: rule {index}"
    if not isinstance(document, dict):
        raise FaultPlanError(f"{where}: expected an object")
    unknown = sorted(set(document) - {item.name for item in fields(FaultRule)})
    if unknown:
        raise FaultPlanError(f"{where}: unknown key {unknown[0]!r}")
    values = {key: checked(where, key, value) for key, value in document.items()}
    return FaultRule(**values)


def _default(item: Any) -> object:
    return item.default_factory() if item.default is MISSING else item.default


class Faults:
    """The plan in force, with its counters.  Thread-safe; ``_lock`` guards all fields."""

    def __init__(self, plan: FaultPlan | Iterable[FaultRule] | None = None) -> None:
        self._lock = threading.Lock()
        self._plan = FaultPlan.of(plan)
        self._seen = [0] * len(self._plan.rules)

    @property
    def plan(self) -> FaultPlan:
        """The plan in force."""
        with self._lock:
            return self._plan

    @property
    def refuses_connections(self) -> bool:
        """Whether new connections are closed at once."""
        return self.plan.refuse_connections

    def set(self, plan: FaultPlan | Iterable[FaultRule] | None) -> None:
        """Put another plan in force from the next request on; counting begins anew."""
        replacement = FaultPlan.of(plan)
        with self._lock:
            self._plan = replacement
            self._seen = [0] * len(replacement.rules)

    def clear(self) -> None:
        """No more faults."""
        self.set(None)

    def hit(self, method: str, path: str, has_range: bool) -> tuple[Effects, tuple[str, ...]]:
        """Count a request; give the effects on it and the names of the rules that hit it."""
        with self._lock:
            if not self._plan.rules:
                return NO_EFFECTS, ()
            hits: list[tuple[int, FaultRule]] = []
            for index, rule in enumerate(self._plan.rules):
                if rule.matches(method, path, has_range):
                    seen = self._seen[index]
                    self._seen[index] += 1
                    if seen >= rule.skip and (rule.count is None or seen < rule.skip + rule.count):
                        hits.append((index, rule))
        if not hits:
            return NO_EFFECTS, ()
        values: dict[str, Any] = {}
        for _, rule in hits:
            for item in _EFFECT_FIELDS:
                value = getattr(rule, item.name)
                if item.name not in values and value != _default(item):
                    values[item.name] = value
        return Effects(**values), tuple(rule.name or f"rule {index}" for index, rule in hits)
