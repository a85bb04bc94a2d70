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
from share.model.limits import MAX_PASSWORD_CHARS, ShareLimits

MAX_DECOMPOSED: Final = 4
"""The most characters that become one under NFC (Unicode Standard Annex 15): bounds what is normalised at all."""
ITERATIONS: Final = 2
LANES: Final = 1
HASHING_THREADS: Final = 2
"""At the same time: 38 MiB, and two cores for 20 to 50 ms each. Argon2 lets go of Python's lock."""
NO_MEMORY: Final = error_to_str(-22)
"""What argon2 says then, and the only sign of it: ARGON2_MEMORY_ALLOCATION_ERROR in its argon2.h."""

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Passwords:
    """Hashes and checks passwords on threads that do nothing else, and never logs one."""

    def __init__(self, limits: ShareLimits = ShareLimits()) -> None:
        self._memory_kib = limits.password_memory_kib
        self._max_waiting = limits.max_waiting_passwords
        self._hasher = PasswordHasher(time_cost=ITERATIONS, memory_cost=self._memory_kib, parallelism=LANES)
        self._threads = ThreadPoolExecutor(HASHING_THREADS, thread_name_prefix="share-passwords")
        self._waiting = 0
        self._closed = False

    async def hash(self, password: str) -> str:
        """Its hash in PHC form.

        ValueError when it is empty, above MAX_PASSWORD_CHARS or no text; BusyError, at once, when
        ``max_waiting_passwords`` wait, after ``close``, and when there is no memory.
        """
        data = _normalised(password)
        try:
            return await self._run(lambda: self._hasher.hash(data))
        except HashingError:  # argon2's only cause here is memory
            raise self._no_memory() from None

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
        """Refuse new calls with BusyError. What waits is finished; the process ends when it is."""
        self._closed = True
        self._threads.shutdown(wait=False)

    def _matches(self, stored: str, data: bytes) -> bool:
        try:
            return self._hasher.verify(stored, data)
        except VerifyMismatchError:
            return False
        except (InvalidHashError, VerificationError, UnicodeEncodeError) as error:
            if str(error) == NO_MEMORY:  # nothing is known of the password: it must not count as a wrong one
                raise self._no_memory() from None
            _log.warning("a stored password hash cannot be used: %s", type(error).__name__)
            return False

    async def _run(self, work: Callable[[], _T]) -> _T:
        if self._closed:
            raise BusyError("passwords are no longer checked: the server is shutting down")
        if self._waiting >= self._max_waiting:
            raise BusyError(f"{self._waiting} passwords are being checked already")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1

    def _no_memory(self) -> BusyError:
        _log.warning("no memory to hash passwords: each takes %d MiB", self._memory_kib // 1024)
        return BusyError("no memory to hash passwords")


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
