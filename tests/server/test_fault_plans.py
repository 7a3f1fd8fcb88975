"""Fault plans as values: what they match, what they mean, how they are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netcache_server import FaultPlan, FaultPlanError, FaultRule, Faults


def test_skip_and_count_choose_among_the_matching_requests() -> None:
    """Of the requests that match, the first pass, the next are hit, the rest pass."""
    faults = Faults([FaultRule(method=("GET",), path="/a*", skip=1, count=2, status=503)])
    asked = [("GET", "/a"), ("PUT", "/a"), ("GET", "/b"), *[("GET", "/a/x")] * 4]
    hits = [faults.hit(method, path, False)[0].status for method, path in asked]
    assert hits == [None, None, None, 503, 503, None, None]


def test_effects_of_several_rules_are_joined() -> None:
    """Each rule adds its effects; where two set the same one the first decides."""
    faults = Faults(
        [FaultRule(name="slow", latency_s=1.0), FaultRule(latency_s=2.0, cut_after=0, range=True)]
    )
    effects, names = faults.hit("GET", "/x", True)
    assert (effects.latency_s, effects.cut_after, names) == (1.0, 0, ("slow", "rule 1"))
    effects, names = faults.hit("GET", "/x", False)
    assert (effects.latency_s, effects.cut_after, names) == (1.0, None, ("slow",))


def test_setting_a_plan_counts_anew() -> None:
    """A plan that is set starts with no request counted."""
    rule = FaultRule(count=1, status=500)
    faults = Faults([rule])
    assert faults.hit("GET", "/", False)[0].status == 500
    assert faults.hit("GET", "/", False)[0].status is None
    faults.set([rule])
    assert faults.hit("GET", "/", False)[0].status == 500
    faults.clear()
    assert faults.hit("GET", "/", False)[0].status is None


def test_json_and_back() -> None:
    """Reading what was written gives an equal plan."""
    plan = FaultPlan(
        (
            FaultRule(name="n", method=("GET", "HEAD"), path="/x/*", skip=1, count=2, range=True),
            FaultRule(latency_s=0.5, headers={"X": "y"}, remove_headers=("ETag",), body="long"),
            FaultRule(redirect="/b", redirect_status=307, etag="random", cut_after=0, reset=True),
        ),
        refuse_connections=True,
    )
    assert FaultPlan.from_json(plan.to_json()) == plan


def test_short_forms() -> None:
    """A list is its rules; one method is a text; Retry-After may be a number."""
    plan = FaultPlan.from_json('[{"method": "get", "status": 503, "retry_after": 2}]')
    assert plan.rules == (FaultRule(method=("GET",), status=503, retry_after="2"),)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "not JSON"),
        ("1", "expected an object"),
        ({"rule": []}, "unknown key 'rule'"),
        ({"rules": 1}, "rules is a list"),
        ([1], "rule 0: expected an object"),
        ([{}, {"statsu": 1}], "rule 1: unknown key 'statsu'"),
        ([{"status": "503"}], "rule 0: status: expected a status from 200 to 599, got '503'"),
        ([{"status": 700}], "status: expected"),
        ([{"count": -1}], "count: expected a number of at least 0"),
        ([{"count": True}], "count: expected a number"),
        ([{"skip": None}], "skip: expected a value"),
        ([{"latency_s": "1"}], "latency_s: expected seconds"),
        ([{"bandwidth": 0}], "bandwidth: expected bytes a second"),
        ([{"content_range": "x"}], "content_range: expected one of shifted"),
        ([{"refuse": 1}], "refuse: expected true or false"),
        ([{"headers": ["a"]}], "headers: expected an object of texts"),
        ([{"method": 1}], "method: expected a text or a list"),
        ([{"path": 1}], "path: expected a text"),
        ([{"retry_after": 1.5}], "retry_after: expected seconds or a date"),
    ],
)
def test_errors_name_the_rule_and_the_key(document: object, message: str) -> None:
    """A plan that cannot be used says where and why."""
    text = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(FaultPlanError, match="fault plan") as caught:
        FaultPlan.from_json(text)
    assert message in str(caught.value)


def test_file_that_is_not_there(tmp_path: Path) -> None:
    """A missing file is an error of the plan."""
    with pytest.raises(FaultPlanError, match="cannot read"):
        FaultPlan.from_file(tmp_path / "missing.json")
