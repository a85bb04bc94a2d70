"""Passwords of shares: Argon2id, away from the loop."""

from __future__ import annotations

import asyncio
import logging
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import HashingError, InvalidHashError, VerificationError, VerifyMismatchError
from argon2.low_level import error_to_str

from share.model.errors import BusyError
from share.model.limits import MAX_PASSWORD_CHARS

MAX_DECOMPOSED: Final = 4
"""The most characters that become one under NFC (Unicode Standard Annex 15): bounds what is normalised at all."""
MEMORY_KIB: Final = 19 * 1024
"""With ITERATIONS and LANES the minimum of OWASP's Password Storage Cheat Sheet: m=19456 (19 MiB), t=2, p=1."""
ITERATIONS: Final = 2
LANES: Final = 1
HASHING_THREADS: Final = 2
"""At the same time: 38 MiB, and two cores for 20 to 50 ms each. Argon2 lets go of Python's lock."""
NO_MEMORY: Final = error_to_str(-22)
"""What argon2 says then, and the only sign of it: ARGON2_MEMORY_ALLOCATION_ERROR in its argon2.h."""
MAX_WAITING_PASSWORDS: Final = 32
"""Hashes and checks that may wait or run: a second of work for two threads on a small machine."""

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Passwords:
    """Hashes and checks passwords on threads of its own, never logging one."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=ITERATIONS, memory_cost=MEMORY_KIB, parallelism=LANES)
        self._threads = ThreadPoolExecutor(HASHING_THREADS, thread_name_prefix="share-passwords")
        self._waiting = 0
        self._closed = False

    async def hash(self, password: str) -> str:
        """Its hash in PHC form.

        ValueError when it is empty, above MAX_PASSWORD_CHARS or no text; BusyError, at once, when
        MAX_WAITING_PASSWORDS wait, after ``close``, and when there is no memory.
        """
        data = _normalised(password)
        try:
            return await self._run(lambda: self._hasher.hash(data))
        except HashingError:  # argon2's only cause here is memory
            raise _no_memory() from None

    async def verify(self, stored: str, password: str) -> bool:
        """Whether ``password`` made ``stored``. BusyError as for ``hash``.

        A password that ``hash`` would refuse is wrong; so is every one for a ``stored`` that is no hash. That, and a
        lack of memory, is a line in the log. Cancelled before its turn, it costs nothing.
        """
        try:
            data = _normalised(password)
        except ValueError:
            return False
        return await self._run(lambda: self._matches(stored, data))

    def close(self) -> None:
        """Refuse what comes, with BusyError. What waits is finished; the process ends when it is."""
        self._closed = True
        self._threads.shutdown(wait=False)

    def _matches(self, stored: str, data: bytes) -> bool:
        try:
            return self._hasher.verify(stored, data)
        except VerifyMismatchError:
            return False
        except (InvalidHashError, VerificationError, UnicodeEncodeError) as error:
            if str(error) == NO_MEMORY:  # nothing is known of the password: it must not count as a wrong one
                raise _no_memory() from None
            _log.warning("a stored password hash cannot be used: %s", type(error).__name__)
            return False

    async def _run(self, work: Callable[[], _T]) -> _T:
        if self._closed:
            raise BusyError("passwords are no longer checked: the process is ending")
        if self._waiting >= MAX_WAITING_PASSWORDS:
            raise BusyError(f"{self._waiting} passwords are being checked already")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def _no_memory() -> BusyError:
    _log.warning("there is no memory for a password's hash, which takes %d MiB", MEMORY_KIB // 1024)
    return BusyError("there is no memory for a password's hash")


def _normalised(password: str) -> bytes:
    """UTF-8 of NFC: é is one character or two, as the keyboard likes. ValueError, quoting nothing."""
    if len(password) <= MAX_PASSWORD_CHARS * MAX_DECOMPOSED:
        text = unicodedata.normalize("NFC", password)
        if 1 <= len(text) <= MAX_PASSWORD_CHARS:
            try:
                return text.encode()
            except UnicodeEncodeError:  # half of a surrogate pair; the error would carry the password along
                raise ValueError("the password is not text") from None
    raise ValueError(f"a password has 1 to {MAX_PASSWORD_CHARS} characters")
