"""Sizes and durations as people write them: `64KiB`, `1.5GiB`, `10M`, `30s`, `5m`, `1h`."""

import re

__all__ = ["format_duration", "format_size", "parse_duration", "parse_size"]

_NUMBER_AND_UNIT = r"(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)\s*"

# `10M` means mebibytes, as with dd and rsync; `10MB` is the decimal unit.
_SIZE_UNITS: dict[str, int] = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgtp", start=1):
    _SIZE_UNITS[_letter] = _SIZE_UNITS[_letter + "ib"] = 1024**_power
    _SIZE_UNITS[_letter + "b"] = 1000**_power

_DURATION_UNITS = {
    "": 1.0,
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
}

_BINARY_NAMES = ("KiB", "MiB", "GiB", "TiB", "PiB")


def parse_size(text: str) -> int:
    """The number of bytes that `4096`, `64KiB`, `1.5GiB`, `10M` or `10MB` stands for."""
    match = re.fullmatch(_NUMBER_AND_UNIT, text.strip().lower(), re.ASCII)
    factor = _SIZE_UNITS.get(match[2]) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text!r} is not a size; write 4096, 64KiB, 10M or 1.5GiB")
    if match[1].isdigit():
        return int(match[1]) * factor
    return round(float(match[1]) * factor)


def parse_duration(text: str) -> float:
    """The seconds that `30`, `30s`, `5m`, `1h`, `500ms` or `1h30m` stands for."""
    lowered = text.strip().lower()
    total, position = 0.0, 0
    while match := re.match(_NUMBER_AND_UNIT, lowered[position:], re.ASCII):
        factor = _DURATION_UNITS.get(match[2])
        if factor is None or (not match[2] and match.end() != len(lowered)):
            break
        total += float(match[1]) * factor
        position += match.end()
    if not lowered or position != len(lowered):
        raise ValueError(f"{text!r} is not a duration; write 30, 30s, 5m or 1h")
    return total


def format_size(n: int) -> str:
    """`n` bytes in at most four digits and a binary unit: `512 B`, `1.5 GiB`."""
    if abs(n) < 1024:
        return f"{n} B"
    value = float(n)
    for name in _BINARY_NAMES:
        value /= 1024
        if abs(value) < 1023.95 or name == _BINARY_NAMES[-1]:
            break
    digits = 0 if abs(value) >= 99.95 else 1
    return f"{value:.{digits}f} {name}"


def format_duration(seconds: float) -> str:
    """`seconds` in one or two units: `0.25s`, `42s`, `5m 12s`, `3h 20m`, `2d 4h`."""
    if seconds < 10:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + "s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    for big, small, big_name, small_name in (
        (60, 1, "m", "s"),
        (3600, 60, "h", "m"),
        (86400, 3600, "d", "h"),
    ):
        if whole < big * (60 if big == 60 else 24) or big == 86400:
            head, rest = divmod(whole, big)
            tail = rest // small
            return f"{head}{big_name} {tail}{small_name}" if tail else f"{head}{big_name}"
    raise AssertionError("the last unit holds every length")
