"""What the values of a fault rule may be, with errors that say which one is wrong."""

from __future__ import annotations

from typing import Any

_CHOICES = {
    "content_range": ("shifted", "wrong_total", "unknown_total", "missing"),
    "validator": ("weak", "none", "last_modified_only", "etag_only"),
    "body": ("long", "short", "long_declared", "short_declared"),
    "content": ("inverted",),
    "content_encoding": ("gzip",),
}
_FLAGS = {"refuse", "lose_reply", "ignore_range", "omit_date", "reset"}
_COUNTS = {"skip", "count", "body_delta", "cut_after", "stall_after", "upload_cut_after"}
_SECONDS = {"latency_s", "stall_s"}
_RATES = {"bandwidth", "upload_bandwidth"}
_TEXTS = {"name", "path", "redirect", "etag"}
_MAY_BE_NULL = {"count", "range"}


class FaultPlanError(ValueError):
    """A fault plan that cannot be used; the message names the rule, the key and what it expects."""


def checked(where: str, key: str, value: object) -> Any:
    """The value of a key as the rule's field holds it.  Raises ``FaultPlanError``."""
    if value is None and (key in _MAY_BE_NULL or key not in _FLAGS):
        return _null(where, key)
    if key in _CHOICES:
        return _choice(where, key, value)
    if key in _FLAGS or key == "range":
        _require(isinstance(value, bool), where, key, "true or false", value)
        return value
    if key in _COUNTS:
        return _number(where, key, value, int, "a number of at least 0", 0)
    if key in _SECONDS:
        return _number(where, key, value, float, "seconds, at least 0", 0)
    if key in _RATES:
        return _number(where, key, value, float, "bytes a second, at least 1", 1)
    if key in ("status", "redirect_status"):
        low = 200 if key == "status" else 300
        number = _number(where, key, value, int, f"a status from {low} to 599", low)
        _require(number <= 599, where, key, f"a status from {low} to 599", value)
        return number
    if key in _TEXTS:
        _require(isinstance(value, str), where, key, "a text", value)
        return value
    if key == "retry_after":
        good = isinstance(value, str | int) and not isinstance(value, bool)
        _require(good, where, key, "seconds or a date", value)
        return str(value)
    return _collection(where, key, value)


def _null(where: str, key: str) -> None:
    refused = {"skip", "body_delta", "redirect_status", "path", "name", "method", "headers"}
    _require(key not in refused | {"remove_headers"}, where, key, "a value", None)


def _choice(where: str, key: str, value: object) -> object:
    choices = _CHOICES[key]
    _require(value in choices, where, key, "one of " + ", ".join(choices), value)
    return value


def _number(
    where: str, key: str, value: object, kind: type[int] | type[float], wanted: str, low: int
) -> Any:
    good = isinstance(value, int) if kind is int else isinstance(value, int | float)
    _require(good and not isinstance(value, bool), where, key, wanted, value)
    assert isinstance(value, int | float)
    _require(value >= low, where, key, wanted, value)
    return value


def _collection(where: str, key: str, value: object) -> object:
    if key == "headers":
        good = isinstance(value, dict) and all(
            isinstance(text, str) for item in value.items() for text in item
        )
        _require(good, where, key, "an object of texts", value)
        return value
    texts = [value] if isinstance(value, str) else value
    good = isinstance(texts, list | tuple) and all(isinstance(text, str) for text in texts)
    _require(good, where, key, "a text or a list of texts", value)
    assert isinstance(texts, list | tuple)
    return tuple(text.upper() for text in texts) if key == "method" else tuple(texts)


def _require(condition: bool, where: str, key: str, wanted: str, value: object) -> None:
    if not condition:
        raise FaultPlanError(f"{where}: {key}: expected {wanted}, got {value!r}")
