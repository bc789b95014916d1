"""Run with ``python -m unittest``."""

import unittest

from penstock.testing import Native
from transform import Acceptance, DriverAcceptProportion, Offer


class Tests(unittest.TestCase):
    def test_the_share_is_of_all_offers(self) -> None:
        window = Native(DriverAcceptProportion)
        window.accumulate([Offer(True), Offer(True), Offer(False), Offer(True)])
        self.assertEqual(window.finish(), [Acceptance(0.75, 4)])

    def test_no_offers_give_no_share(self) -> None:
        self.assertEqual(Native(DriverAcceptProportion).finish(), [])

    def test_an_offer_without_an_answer_is_rejected(self) -> None:
        window = Native(DriverAcceptProportion)
        rejects = window.accumulate([Offer(True), {"accepted": None}])
        self.assertEqual([(reject.row, reject.code) for reject in rejects], [(1, "null")])
        self.assertEqual(window.finish()[0].driver_offers_10m, 1)


if __name__ == "__main__":
    unittest.main()
