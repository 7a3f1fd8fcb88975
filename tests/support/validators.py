"""Validators of every kind that HTTP has."""

from __future__ import annotations

from netcache._core.coherency import Validator, ValidatorKind

TAG = Validator(ValidatorKind.STRONG_ETAG, '"v1"')
WEAK_TAG = Validator(ValidatorKind.WEAK_ETAG, 'W/"v1"')
MODIFIED = "Tue, 14 Nov 2023 22:13:20 GMT"
MODIFIED_S = 1_700_000_000
DATE = Validator(ValidatorKind.STRONG_DATE, MODIFIED)
WEAK_DATE = Validator(ValidatorKind.WEAK_DATE, MODIFIED)
