"""The error classes: twins, errno, exit codes, messages."""

from __future__ import annotations

import errno
import pickle

import pytest

import netcache
from netcache import errors


@pytest.mark.parametrize(
    ("kind", "twin", "number", "code"),
    [
        (errors.NetCacheError, OSError, errno.EIO, 1),
        (errors.UsageError, ValueError, errno.EINVAL, 2),
        (errors.NotFoundError, FileNotFoundError, errno.ENOENT, 3),
        (errors.NotOfferedError, OSError, errno.EOPNOTSUPP, 5),
        (errors.ConflictError, OSError, errno.EBUSY, 4),
        (errors.StaleError, OSError, errno.ESTALE, 5),
        (errors.TransientError, OSError, errno.EIO, 5),
        (errors.RemoteTimeoutError, TimeoutError, errno.ETIMEDOUT, 5),
        (errors.RemoteProtocolError, OSError, errno.EPROTO, 5),
        (errors.IntegrityError, OSError, errno.EBADMSG, 7),
        (errors.NotCachedError, FileNotFoundError, errno.ENOENT, 8),
        (errors.CacheError, OSError, errno.EIO, 9),
        (errors.AccessDeniedError, PermissionError, errno.EACCES, 10),
        (errors.ClosedError, ValueError, errno.EBADF, 1),
    ],
)
def test_each_error_is_its_builtin_twin(
    kind: type[errors.NetCacheError], twin: type[Exception], number: int, code: int
) -> None:
    """Code written for files catches netcache's errors by the names it knows."""
    error = kind("read of http://h/x failed: why", url="http://h/x")
    assert isinstance(error, twin)
    assert isinstance(error, errors.NetCacheError)
    assert error.errno == number
    assert error.exit_code == code
    assert str(error) == "read of http://h/x failed: why"
    assert error.url == error.filename == "http://h/x"


def test_errors_can_be_pickled() -> None:
    """They cross process pools."""
    error = errors.TransientError("503", url="http://h/", retry_after_s=2.0)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is errors.TransientError
    assert (str(again), again.url, again.retry_after_s) == ("503", "http://h/", 2.0)


def test_every_public_name_is_there() -> None:
    """The lazy package gives every name it lists, and no other."""
    for name in netcache.__all__:
        assert getattr(netcache, name) is not None
    with pytest.raises(AttributeError):
        netcache.nonsense  # noqa: B018
