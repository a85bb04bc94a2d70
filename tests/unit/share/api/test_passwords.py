"""Passwords of shares."""

from __future__ import annotations

import asyncio
import logging
import threading
import unicodedata
from collections.abc import Callable, Iterator

import argon2
import pytest
from argon2.exceptions import HashingError, VerificationError

from share.api.passwords import Passwords
from share.model.errors import BusyError
from share.model.limits import MAX_PASSWORD_CHARS, ShareLimits

MOST = ShareLimits().max_waiting_passwords


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    """Closed at the end of the test."""
    passwords = Passwords()
    yield passwords
    passwords.close()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Verifications take until it is set, and then find the password right."""
    gate = threading.Event()
    monkeypatch.setattr(argon2.PasswordHasher, "verify", lambda *_: gate.wait(10))
    yield gate
    gate.set()


async def test_only_the_password_itself_is_right(passwords: Passwords) -> None:
    """Neither another case nor a blank more opens the share."""
    stored = await passwords.hash("correct horse")
    assert await passwords.verify(stored, "correct horse")
    for wrong in ("Correct horse", "correct horse ", "correct hors", ""):
        assert not await passwords.verify(stored, wrong)


async def test_the_hash_has_owasps_minimum_and_its_own_salt(passwords: Passwords) -> None:
    """Argon2id with 19 MiB, two passes, one lane (OWASP Password Storage Cheat Sheet); equal passwords differ."""
    first, second = await passwords.hash("same"), await passwords.hash("same")
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert first != second


async def test_an_accent_is_the_same_on_every_keyboard(passwords: Passwords) -> None:
    """é typed as one character or as e and an accent is one password."""
    stored = await passwords.hash(unicodedata.normalize("NFD", "café"))
    assert await passwords.verify(stored, unicodedata.normalize("NFC", "café"))
    assert not await passwords.verify(stored, "cafe")


@pytest.mark.parametrize("password", ["x", "x" * MAX_PASSWORD_CHARS, "e\u0301" * MAX_PASSWORD_CHARS])
async def test_a_password_of_allowed_length_works(passwords: Passwords, password: str) -> None:
    """One character and the most, counted as people see them."""
    assert await passwords.verify(await passwords.hash(password), password)


@pytest.mark.parametrize(
    "password", ["", "x" * (MAX_PASSWORD_CHARS + 1), "e\u0301" * (MAX_PASSWORD_CHARS + 1), "x" * 1_000_000, "\ud800"]
)
async def test_a_password_that_cannot_be_is_refused_and_matches_nothing(passwords: Passwords, password: str) -> None:
    """``hash`` says what is allowed without quoting it; ``verify`` just says no."""
    with pytest.raises(ValueError, match=r"^(a password has 1 to 128 characters|the password is not text)$") as caught:
        await passwords.hash(password)
    assert type(caught.value) is ValueError  # UnicodeEncodeError would carry the password along
    assert not await passwords.verify(await passwords.hash("other"), password)


@pytest.mark.parametrize("stored", ["", "plain", "$argon2id$v=19$m=19456,t=2,p=1$", "$argon2id$v=19$m=1$YQ$YQ", "é"])
async def test_a_stored_hash_that_is_none_opens_nothing(
    passwords: Passwords, stored: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Every password is wrong; one line says so, with neither of them."""
    assert not await passwords.verify(stored, "hush")
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "hush" not in record.getMessage()
    assert not stored or stored not in record.getMessage()


async def test_more_checks_than_may_wait_are_refused_at_once(passwords: Passwords, gate: threading.Event) -> None:
    """As many as may wait are all answered, the one more is not; then there is room again."""
    tasks = [asyncio.create_task(passwords.verify("stored", "p")) for _ in range(MOST)]
    await asyncio.sleep(0)
    with pytest.raises(BusyError):
        await passwords.verify("stored", "p")
    with pytest.raises(BusyError):
        await passwords.hash("p")
    gate.set()
    assert await asyncio.gather(*tasks) == [True] * MOST
    assert await passwords.verify("stored", "p")


async def test_no_more_than_two_are_checked_at_the_same_time(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory and cores have a bound, however many viewers come; the loop does none of it."""
    running, peak, names, lock = 0, 0, set(), threading.Lock()
    both = threading.Barrier(2, timeout=10)

    def verify(*_: object) -> bool:
        nonlocal running, peak
        with lock:
            running += 1
            peak = max(peak, running)
            names.add(threading.current_thread().name)
        both.wait()
        with lock:
            running -= 1
        return True

    monkeypatch.setattr(argon2.PasswordHasher, "verify", verify)
    assert all(await asyncio.gather(*(passwords.verify("stored", "p") for _ in range(10))))
    assert peak == 2
    assert names == {"share-passwords_0", "share-passwords_1"}


async def test_a_viewer_who_goes_makes_room(passwords: Passwords, gate: threading.Event) -> None:
    """Whoever hangs up while waiting is neither counted nor checked."""
    tasks = [asyncio.create_task(passwords.verify("stored", "p")) for _ in range(MOST)]
    await asyncio.sleep(0)
    for task in tasks[2:]:
        task.cancel()
    await asyncio.wait(tasks[2:])
    gate.set()
    assert await passwords.verify("stored", "p")
    assert await asyncio.gather(*tasks[:2]) == [True, True]


async def test_no_memory_is_busy(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A hash that cannot be made for want of memory is a request to try again: no bug, and no wrong password."""

    def fails(error: Exception) -> Callable[..., str]:
        def call(*_: object) -> str:
            raise error

        return call

    monkeypatch.setattr(argon2.PasswordHasher, "hash", fails(HashingError("Memory allocation error")))
    monkeypatch.setattr(argon2.PasswordHasher, "verify", fails(VerificationError("Memory allocation error")))
    for work in (passwords.hash("p"), passwords.verify("stored", "p")):
        with pytest.raises(BusyError):
            await work
    assert ["no memory" in record.getMessage() for record in caplog.records] == [True, True]


async def test_after_the_end_nothing_is_checked(passwords: Passwords, gate: threading.Event) -> None:
    """What began is finished; what comes later is refused."""
    task = asyncio.create_task(passwords.verify("stored", "p"))
    await asyncio.sleep(0)
    passwords.close()
    with pytest.raises(BusyError):
        await passwords.verify("stored", "p")
    gate.set()
    assert await task
