"""Windows and mappers: rejects, keys, configuration, merging, migration, both forms."""

import random
import unittest
from collections import Counter
from dataclasses import dataclass
from typing import Iterator

from penstock import (
    BadConfig, BadInput, Bounds, ColumnarMapper, ColumnarWindow, Failure, KeyedRows, Mapped, Mapper, Reject, Rows,
    StateColumns, UInt64, Window, log, metrics, migrates, output, row, state,
)  # fmt: skip
from penstock.contract import Event, Field, Opening
from penstock.failures import Mistake, told
from penstock.records import record_of
from penstock.signature import signature_of
from penstock.testing import Native, NativeMapper, columns
from penstock.windowed import Windowed


@row
class Order:
    cents: int
    coupon: str | None = None


@row
class Customer:
    name: str


@state
class Orders:
    orders: UInt64 = 0
    cents: int = 0
    coupons: list[str] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.coupons = self.coupons or []


@output
class Spend:
    orders: UInt64
    cents: int
    coupons: list[str]


@dataclass
class Settings:
    most: int = 1000
    codes: list[str] | None = None


class Spending(Window):
    def open(self, settings: Settings) -> None:
        self.most = settings.most

    def accumulate(self, orders: Orders, order: Order) -> None:
        orders.orders += 1
        orders.cents += order.cents
        if order.coupon is not None:
            orders.coupons.append(order.coupon)
        if order.cents > self.most:
            metrics.count("too_much")
            raise Reject("too-much", f"{order.cents} cents")

    def merge(self, earlier: Orders, later: Orders) -> Orders:
        return Orders(earlier.orders + later.orders, earlier.cents + later.cents, earlier.coupons + later.coupons)

    def finish(self, orders: Orders, bounds: Bounds) -> list[Spend]:
        return [Spend(orders.orders, orders.cents, orders.coupons)] * (orders.orders > 0)


class Keyed(Window):
    state_version = 2

    def accumulate(self, orders: Orders, order: Order, key: Customer) -> None:
        if key.name.startswith("test-"):
            raise Reject("test-customer", key.name)
        orders.orders += 1

    def merge(self, earlier: Orders, later: Orders) -> Orders:
        return later

    def finish(self, orders: Orders, bounds: Bounds, key: Customer) -> Spend | None:
        return Spend(orders.orders, bounds.length, [key.name]) if orders.orders else None

    @migrates(1)
    def from_1(self, old: Customer) -> Orders:
        return Orders(1, 0, [old.name])


class ByColumns(ColumnarWindow):
    def accumulate(self, states: StateColumns[Orders], rows: KeyedRows[Order, Customer]) -> None:
        for index, (group, cents) in enumerate(zip(rows.groups, rows.cents)):
            if cents > 1000:
                rows.reject(index, "too-much", f"{cents} cents of {rows.keys[group].name}")
                continue
            states.orders[group] += 1
            states.cents[group] += cents

    def merge(self, earlier: Orders, later: Orders) -> Orders:
        return later

    def finish(self, orders: Orders, bounds: Bounds, key: Customer) -> Spend:
        return Spend(orders.orders, orders.cents, [])


class Words(Mapper):
    def map(self, order: Order) -> Iterator[Spend]:
        if order.cents < 0:
            raise Reject("negative")
        for word in (order.coupon or "").split():
            yield Spend(1, order.cents, [word])


class WordsByColumns(ColumnarMapper):
    def map(self, rows: Rows[Order], mapped: Mapped[Spend]) -> None:
        for index, (cents, coupon) in enumerate(zip(rows.cents, rows.coupon)):
            if cents < 0:
                rows.reject(index, "negative")
                continue
            for word in (coupon or "").split():
                mapped.append(index, Spend(1, cents, [word]))


class Windows(unittest.TestCase):
    def test_a_rejected_row_leaves_no_trace(self) -> None:
        window = Native(Spending)
        rejects = window.accumulate([Order(1, "a"), Order(5000, "b"), {"cents": None}, Order(2), Order(9999, "c"), Order(3)])
        self.assertEqual([(r.row, r.code) for r in rejects], [(1, "too-much"), (2, "null"), (4, "too-much")])
        self.assertEqual(rejects[1].detail, "column `cents` is null")
        self.assertEqual(window.finish(), [Spend(3, 6, ["a"])])

    def test_any_cut_and_any_rejects_give_the_same_states(self) -> None:
        chance = random.Random(3)
        for _ in range(50):
            rows = [(chance.randrange(3), Order(chance.randrange(1500), chance.choice([None, "x", "y"]))) for _ in range(40)]
            expected = [Orders() for _ in range(3)]
            for group, order in rows:
                if order.cents <= 1000:
                    state = expected[group]
                    state.orders += 1
                    state.cents += order.cents
                    state.coupons += [order.coupon] if order.coupon else []
            window = Native(Spending)
            window.add_group(), window.add_group()
            while rows:
                cut = chance.randrange(1, 20)
                window.accumulate_into(rows[:cut])
                rows = rows[cut:]
            self.assertEqual(window.states, expected)

    def test_undoing_says_nothing_twice(self) -> None:
        counted: Counter[str] = Counter()
        before, metrics.counts = metrics.counts, lambda name, amount: counted.update({name: amount})
        try:
            Native(Spending).accumulate([Order(5000), Order(5000), Order(1), Order(5000)])
        finally:
            metrics.counts = before
        self.assertEqual(counted["too_much"], 3)

    def test_keys_bounds_and_versions(self) -> None:
        window = Native(Keyed)
        first, second = window.add_group(Customer("ann")), window.add_group(Customer("test-1"))
        rejects = window.accumulate_into([(first, Order(1)), (second, Order(1))])
        self.assertEqual([(r.row, r.code, r.detail) for r in rejects], [(1, "test-customer", "test-1")])
        self.assertEqual(window.finish(Bounds(0, 7)), [Spend(1, 7, ["ann"])])
        self.assertEqual((window.spec.state_version, window.spec.migrates_from), (2, [1]))
        self.assertEqual(window.migrate(1, [Customer("bob")]), [Orders(1, 0, ["bob"])])

    def test_merging(self) -> None:
        window = Native(Spending)
        later = window.add_group()
        window.accumulate_into([(0, Order(1, "a")), (later, Order(2, "b"))])
        window.merge(0, later)
        self.assertEqual(window.states, [Orders(2, 3, ["a", "b"]), Orders()])

    def test_the_columnar_form(self) -> None:
        window = Native(ByColumns)
        window.add_group(Customer("ann")), window.add_group(Customer("bob"))
        rejects = window.accumulate_into([(0, Order(1)), (1, {"cents": None}), (1, Order(2000)), (1, Order(3))])
        self.assertEqual([(r.row, r.code, r.detail) for r in rejects], [(1, "null", "column `cents` is null"), (2, "too-much", "2000 cents of bob")])
        self.assertEqual(window.finish(), [Spend(1, 1, []), Spend(1, 3, [])])

    def test_nothing_at_all(self) -> None:
        window = Native(ByColumns)
        self.assertEqual((window.accumulate_into([]), window.finish()), ([], []))

    def test_configuration(self) -> None:
        self.assertEqual(Native(Spending, {"most": 1, "codes": ["a"]}).windowed.window.most, 1)
        for config, said in [
            ({"least": 1}, "there is no setting `least`; there are: `most`, `codes`"),
            ({"most": "1"}, '`most` must be an integer, not "1"'),
            ({"codes": [1]}, r"`codes\[0\]` must be a text, not 1"),
            ("[]", "the configuration must be an object"),
        ]:
            with self.assertRaisesRegex(BadConfig, said):
                Native(Spending, config)
        with self.assertRaisesRegex(BadConfig, "takes no configuration"):
            Native(Keyed, {"most": 1})


@row
class Basket:
    items: list[int] | None
    refused: bool = False


@state
class Kept:
    items: list[int] | None = None


class Keeping(Window):
    """Takes the list of a row as its own, and adds to it."""

    def accumulate(self, kept: Kept, basket: Basket) -> None:
        if basket.items is None and kept.items is not None:
            kept.items.append(7)
        elif basket.items is not None:
            kept.items = basket.items
        if basket.refused:
            raise Reject("refused")

    def merge(self, earlier: Kept, later: Kept) -> Kept:
        return later

    def finish(self, kept: Kept, bounds: Bounds) -> Kept:
        return kept

    @migrates(1)
    def from_1(self, old: Customer) -> Kept:
        return Kept([len(old.name)])


class Aliases(unittest.TestCase):
    def test_a_list_of_a_row_that_a_state_took_over_and_changed_is_read_anew(self) -> None:
        window = Native(Keeping)
        rows = [Basket([1, 2]), Basket(None), Basket(None, True), Basket(None), Basket([9], True), Basket(None)]
        rejects = window.accumulate(rows)
        self.assertEqual([r.row for r in rejects], [2, 4])
        self.assertEqual(window.states, [Kept([1, 2, 7, 7, 7])])

    def test_any_cut_gives_the_same(self) -> None:
        chance = random.Random(5)
        for _ in range(50):
            rows = [Basket(chance.choice([None, [1], [2, 3]]), chance.random() < 0.3) for _ in range(20)]
            found = []
            for size in (1, 3, 20):
                window = Native(Keeping)
                for first in range(0, 20, size):
                    window.accumulate([Basket(None if r.items is None else list(r.items), r.refused) for r in rows[first : first + size]])
                found.append(window.states)
            self.assertEqual(found, [found[0]] * 3)


class Migrations(unittest.TestCase):
    def test_a_null_in_an_old_state_is_refused_with_its_column(self) -> None:
        window = Native(Keeping)
        schema = [Field("other", "l", True), Field("name", "u", True)]
        batch = columns(record_of(Customer), [{"name": "ann"}, {"name": None}])
        batch.buffers = [b"", bytes(16), *batch.buffers]
        with self.assertRaisesRegex(BadInput, r"version 1 has a null in column `name`, in row 1, .*`Customer.name`, test_transforms.py:\d+"):
            window.windowed.migrate_states(1, schema, batch)


class Mappers(unittest.TestCase):
    def test_both_forms(self) -> None:
        for transform in (Words, WordsByColumns):
            mapped = NativeMapper(transform).map([Order(1, "a b"), Order(-1, "c"), {"cents": None}, Order(2), Order(3, "d")])
            self.assertEqual(mapped.rows, [Spend(1, 1, ["a"]), Spend(1, 1, ["b"]), Spend(1, 3, ["d"])])
            self.assertEqual(mapped.source_row, [0, 0, 4])
            self.assertEqual([(r.row, r.code) for r in mapped.rejects], [(1, "negative"), (2, "null")])

    def test_what_a_columnar_mapper_upholds(self) -> None:
        class Backwards(ColumnarMapper):
            def map(self, rows: Rows[Order], mapped: Mapped[Spend]) -> None:
                mapped.append(1, Spend(1, 1, []))
                mapped.append(0, Spend(1, 1, []))

        class Both(ColumnarMapper):
            def map(self, rows: Rows[Order], mapped: Mapped[Spend]) -> None:
                mapped.append(1, Spend(1, 1, []))
                rows.reject(1, "no")

        for transform, said in [(Backwards, "out of the order"), (Both, "rejected row 1 and mapped it")]:
            with self.assertRaisesRegex(Failure, said):
                NativeMapper(transform).map([Order(1), Order(2)])


def opened(event: list[Field], key: list[Field] | None = None, transform: type = Spending) -> Windowed:
    return Windowed(signature_of(transform), Opening("{}", [Event("order", event)], key or []))


class BeginnersMistakes(unittest.TestCase):
    def test_columns_of_other_names_and_types(self) -> None:
        text = Field("coupon", "U", True)
        with self.assertRaisesRegex(BadInput, r"event `order` has no column `cents`, .* as int64 \(`Order.cents`, test_transforms.py:\d+\); there are: `amount`, `coupon`"):
            opened([Field("amount", "l"), text])
        with self.assertRaisesRegex(BadInput, "has a column `cents` of type float64, but the transform expects int64.*declare the field as `Float64`"):
            opened([Field("cents", "g"), text])
        with self.assertRaisesRegex(BadInput, "the pipeline's key has no column `name`"):
            opened([Field("cents", "l"), text], [], Keyed)
        with self.assertRaisesRegex(BadInput, "`orders`.*which the host adds itself"):
            opened([Field("cents", "l"), text], [Field("orders", "u")])

    def test_columns_that_nobody_wants_may_be_of_any_type(self) -> None:
        needs = opened([Field("map", "+m", True, 1), Field("entries", "+s", False, 0), Field("coupon", "u"), Field("cents", "l")]).spec.needs
        self.assertEqual(needs[0].columns, ["cents", "coupon"])

    def test_an_exception_names_the_line(self) -> None:
        class Divides(Spending):
            def finish(self, orders: Orders, bounds: Bounds) -> Spend:
                return Spend(1 // orders.orders, 0, [])

        try:
            Native(Divides).finish()
        except ZeroDivisionError as error:
            said = told(error)
        self.assertRegex(said, r"^test_transforms.py:\d+ in finish: ZeroDivisionError: ")

    def test_signatures(self) -> None:
        class NoAnnotation(Spending):
            def accumulate(self, orders, order):  # type: ignore[no-untyped-def]
                pass

        class NoOutput(Spending):
            def finish(self, orders: Orders, bounds: Bounds):  # type: ignore[no-untyped-def]
                pass

        class NoRecord(Spending):
            def accumulate(self, orders: Orders, order: dict) -> None:  # type: ignore[type-arg]
                pass

        for transform, said in [
            (NoAnnotation, "`accumulate` does not say what `orders` is"),
            (NoOutput, "`finish` does not say what it gives"),
            (NoRecord, "takes a `dict`, which is no record"),
        ]:
            with self.assertRaisesRegex(Mistake, rf"test_transforms.py:\d+: .*{said}"):
                signature_of(transform)

    def test_fields(self) -> None:
        from datetime import datetime

        @row
        class Moment:
            at: datetime

        @state
        class NoDefault:
            count: int

        for cls, said in [(Moment, "use `Timestamp`"), (NoDefault, "has no default")]:
            with self.assertRaisesRegex(Mistake, rf"test_transforms.py:\d+: `{cls.__name__}.*{said}"):
                record_of(cls).schema()  # type: ignore[union-attr]

    def test_log(self) -> None:
        lines: list[tuple[str, str]] = []
        before, log.sink = log.sink, lambda level, message: lines.append((level, message))
        try:
            log.warn(3)
        finally:
            log.sink = before
        self.assertEqual(lines, [("warn", "3")])


if __name__ == "__main__":
    unittest.main()
