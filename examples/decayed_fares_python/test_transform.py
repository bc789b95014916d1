"""Run with ``python -m unittest``."""

import random
import unittest

from penstock import BadConfig, Bounds
from penstock.testing import Native
from transform import Decayed, DecayedFares, Ride

MINUTE = 60_000_000


class Tests(unittest.TestCase):
    def test_a_ride_counts_half_after_a_half_life(self) -> None:
        window = Native(DecayedFares, {"half_life_s": 600})
        window.accumulate([Ride(0, 1000), Ride(10 * MINUTE, 4000)])
        self.assertEqual(window.finish(Bounds(0, 20 * MINUTE)), [Decayed(3000.0, 0.75)])

    def test_the_order_of_rides_makes_no_difference_but_for_rounding(self) -> None:
        chance = random.Random(5)
        rides = [Ride(chance.randrange(100 * MINUTE), chance.randrange(5000)) for _ in range(100)]
        outputs = []
        for _ in range(5):
            window = Native(DecayedFares)
            window.accumulate(rides)
            outputs.append(window.finish(Bounds(0, 100 * MINUTE))[0])
            chance.shuffle(rides)
        for other in outputs[1:]:
            self.assertAlmostEqual(outputs[0].decayed_mean_fare_cents, other.decayed_mean_fare_cents, places=6)
            self.assertAlmostEqual(outputs[0].decayed_rides, other.decayed_rides, places=6)

    def test_a_negative_fare_is_refused(self) -> None:
        window = Native(DecayedFares)
        rejects = window.accumulate([Ride(0, -1)])
        self.assertEqual([reject.code for reject in rejects], ["negative-fare"])
        self.assertEqual(window.finish(), [])

    def test_the_half_life_is_positive(self) -> None:
        with self.assertRaisesRegex(BadConfig, "more than 0"):
            Native(DecayedFares, {"half_life_s": 0})


if __name__ == "__main__":
    unittest.main()
