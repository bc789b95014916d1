"""A driver's mean fare, in which a ride counts half as much for every half-life that it is old.

A decayed average follows changes faster than the mean of a window and forgets more smoothly: no ride
leaves it all at once. Weights are kept relative to the latest ride, so that numbers stay small and a
state is moved to a later time by one multiplication.
"""

from dataclasses import dataclass

from penstock import BadConfig, Bounds, Reject, Timestamp, UInt64, Window, output, row, state


@dataclass
class Settings:
    """The pipeline's ``config``."""

    half_life_s: float = 1800.0

    def __post_init__(self) -> None:
        if not self.half_life_s > 0:
            raise BadConfig(f"`half_life_s` must be more than 0, not {self.half_life_s}")


@row
class Ride:
    """A ride that a driver finished."""

    finished_at: Timestamp
    fare_cents: int


@state
class Fares:
    """Weights and weighted fares, as they are at the time of the latest ride."""

    rides: UInt64 = 0
    latest: Timestamp = 0
    weight: float = 0.0
    weighted: float = 0.0


@output
class Decayed:
    """The driver's features."""

    decayed_mean_fare_cents: float
    decayed_rides: float


class DecayedFares(Window):
    """The transform."""

    def open(self, settings: Settings) -> None:
        self.half_life = settings.half_life_s * 1_000_000

    def accumulate(self, fares: Fares, ride: Ride) -> None:
        if ride.fare_cents < 0:
            raise Reject("negative-fare", f"{ride.fare_cents} cents")
        one = Fares(1, ride.finished_at, 1.0, float(ride.fare_cents))
        both = self.merge(fares, one)
        fares.rides, fares.latest, fares.weight, fares.weighted = both.rides, both.latest, both.weight, both.weighted

    def merge(self, earlier: Fares, later: Fares) -> Fares:
        if earlier.rides == 0:
            return later
        if later.rides == 0:
            return earlier
        latest = max(earlier.latest, later.latest)
        aged, other = self.share_left(earlier, latest), self.share_left(later, latest)
        return Fares(
            earlier.rides + later.rides,
            latest,
            earlier.weight * aged + later.weight * other,
            earlier.weighted * aged + later.weighted * other,
        )

    def finish(self, fares: Fares, bounds: Bounds) -> Decayed | None:
        if fares.rides == 0:
            return None
        return Decayed(fares.weighted / fares.weight, fares.weight * self.share_left(fares, bounds.end))

    def share_left(self, fares: Fares, now: int) -> float:
        """What is left of a state's weights at a later time."""
        return 0.5 ** ((now - fares.latest) / self.half_life)
