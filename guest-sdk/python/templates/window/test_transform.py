"""Run with `PYTHONPATH=.penstock/sdk/python/src python3 -m unittest`."""

import unittest

from penstock.testing import Native
from transform import CustomerSpend, Order, Spend


class Tests(unittest.TestCase):
    def test_a_refused_order_leaves_no_trace(self) -> None:
        window = Native(CustomerSpend)
        rejects = window.accumulate([Order(1250, None), Order(-990, "VIP"), Order(3000, "SPRING")])
        self.assertEqual([(reject.row, reject.code) for reject in rejects], [(1, "amount-out-of-range")])
        self.assertEqual(window.finish(), [Spend(2, 2125.0, "SPRING")])

    def test_the_later_coupon_wins(self) -> None:
        window = Native(CustomerSpend)
        later = window.add_group()
        window.accumulate_into([(later, Order(100, "VIP")), (0, Order(100, "SPRING"))])
        window.merge(0, later)
        self.assertEqual(window.states[0].last_coupon, "VIP")


if __name__ == "__main__":
    unittest.main()
