"""The base of the wrappers around ``FileOps``: every call passes through one method.

It delegates by name, so that it goes on working when the port gains methods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from netcache._cachefiles.file_port import FileOps


class Intercept:
    """Passes every method call of a ``FileOps`` to ``around``."""

    def __init__(self, inner: FileOps) -> None:
        self.inner = inner

    def around(self, name: str, args: tuple[Any, ...], call: Callable[[], Any]) -> Any:
        """Perform ``call``, the call of method ``name`` with ``args``; subclasses do more."""
        return call()

    @property
    def fileops(self) -> FileOps:
        """This wrapper as what ``bind`` takes."""
        return cast("FileOps", self)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.inner, name)
        if not callable(value):
            return value

        def intercepted(*args: Any, **kwargs: Any) -> Any:
            return self.around(name, args, lambda: value(*args, **kwargs))

        return intercepted


class Override(Intercept):
    """Gives other answers for some methods: ``Override(inner, boot_id=lambda: "other")``."""

    def __init__(self, inner: FileOps, **answers: Callable[..., Any]) -> None:
        super().__init__(inner)
        self.answers = answers

    def __getattr__(self, name: str) -> Any:
        answers = self.__dict__["answers"]
        return answers[name] if name in answers else super().__getattr__(name)


def methods(*words: str) -> list[str]:
    """The names of the port's methods that have one of ``words`` in them."""
    from netcache._cachefiles.fileops import PosixFileOps

    return [
        name
        for name in dir(PosixFileOps)
        if not name.startswith("_") and any(word in name for word in words)
    ]
