"""Clocks and chance are refused, by whichever name an author takes them."""

import datetime
import random
import unittest

from penstock import Bounds, UInt64, Window, output, row, sealed, state
from penstock.failures import told
from penstock.testing import Native

sealed.install()

# What an author imports after that is guarded.
import os
import time
import uuid
from datetime import date
from random import randint
from time import time as now


@row
class Tick:
    ticks: UInt64


@state
class Ticks:
    ticks: UInt64 = 0


@output
class Seen:
    ticks: UInt64


class Clocks(Window):
    asks = staticmethod(lambda: None)

    def accumulate(self, ticks: Ticks, tick: Tick) -> None:
        self.asks()

    def merge(self, earlier: Ticks, later: Ticks) -> Ticks:
        return earlier

    def finish(self, ticks: Ticks, bounds: Bounds) -> Seen:
        return Seen(ticks.ticks)


CLOCKS = {
    "datetime.now": lambda: datetime.datetime.now(),
    "datetime.now in UTC": lambda: datetime.datetime.now(datetime.timezone.utc),
    "datetime.today": lambda: datetime.datetime.today(),
    "date.today": lambda: date.today(),
    "time.time": lambda: time.time(),
    "from time import time": lambda: now(),
    "time.monotonic": lambda: time.monotonic(),
    "time.sleep": lambda: time.sleep(0),
    "time.localtime": lambda: time.localtime(),
    "time.strftime": lambda: time.strftime("%Y"),
}
CHANCE = {
    "uuid4": lambda: uuid.uuid4(),
    "os.urandom": lambda: os.urandom(1),
    "random.random": lambda: random.random(),
    "from random import randint": lambda: randint(1, 6),
    "a Random without a seed": lambda: random.Random().random(),
    "SystemRandom": lambda: random.SystemRandom().random(),
}
HARMLESS = {
    "a moment that is known": lambda: datetime.datetime.fromtimestamp(0, datetime.timezone.utc),
    "time.gmtime of a moment": lambda: time.gmtime(0),
    "time.strftime of a moment": lambda: time.strftime("%Y", time.gmtime(0)),
    "a Random with a seed": lambda: random.Random(7).random(),
}


class Sealed(unittest.TestCase):
    def setUp(self) -> None:
        sealed.seal()
        self.addCleanup(sealed.unseal)

    def said_of(self, asks: object) -> str:
        window = Native(type("Asks", (Clocks,), {"asks": staticmethod(asks), "__module__": __name__}))
        try:
            window.accumulate([Tick(1)])
        except RuntimeError as error:
            return told(error)
        return ""

    def test_who_asks_is_told_why_not_and_where(self) -> None:
        for what, all_of_them in (("clock", CLOCKS), ("random numbers", CHANCE)):
            for name, asks in all_of_them.items():
                with self.subTest(name):
                    self.assertRegex(self.said_of(asks), rf"^test_sealed.py:\d+ in .*RuntimeError: a transform has no {what}: ")

    def test_what_depends_on_its_arguments_alone_works(self) -> None:
        for name, asks in HARMLESS.items():
            with self.subTest(name):
                self.assertEqual(self.said_of(asks), "")

    def test_before_that_all_is_as_python_has_it(self) -> None:
        sealed.unseal()
        for name, asks in {**CLOCKS, **CHANCE}.items():
            with self.subTest(name):
                self.assertEqual(self.said_of(asks), "")


if __name__ == "__main__":
    unittest.main()
