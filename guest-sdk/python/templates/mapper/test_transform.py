"""Run with `PYTHONPATH=.penstock/sdk/python/src python3 -m unittest`."""

import unittest

from penstock.testing import NativeMapper
from transform import Order, OrderWorth, Worth


class Tests(unittest.TestCase):
    def test_test_customers_are_left_out_and_negative_amounts_refused(self) -> None:
        mapped = NativeMapper(OrderWorth).map([Order("c-1", 2500), Order("test-1", 100), Order("c-2", -1)])
        self.assertEqual(mapped.rows, [Worth("c-1", 25.0, True)])
        self.assertEqual([(reject.row, reject.code) for reject in mapped.rejects], [(2, "negative-amount")])


if __name__ == "__main__":
    unittest.main()
