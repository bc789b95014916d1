"""Writes the recorded requests of this example: python3 generate.py > cases/basic/events.ndjson

Two hundred requests from 09:00 on, some out of order. Riders come back often: most requests of a
cell are from a few dozen people. Chance is Knuth's MMIX generator from seed 20260302.
"""

import json
from datetime import datetime, timedelta

STATE = 20260302
CELLS = ["u0qjd1", "u0qjd3", "u0qjd9"]


def chance(below):
    global STATE
    STATE = (STATE * 6364136223846793005 + 1442695040888963407) % 2**64
    return (STATE >> 33) % below


def request(at, rider, cell):
    at = at.isoformat(timespec="seconds") + "Z"
    print(json.dumps({"requested_at": at, "rider_id": rider, "cell": cell}, separators=(",", ":")))


now = datetime(2026, 3, 2, 9)
for line in range(1, 201):
    now += timedelta(seconds=chance(60))
    # The first cell is busy with 90 riders, the others with 15 each, some of them the same people.
    cell = max(0, chance(6) - 3)
    rider = 1000 + (chance(90) if cell == 0 else 80 + 10 * cell + chance(15))
    at = now - timedelta(seconds=chance(50))
    if line == 60:
        request(at, None, CELLS[cell])  # without a rider
    elif line == 90:
        request(at, rider, None)  # without a cell
    elif line == 120:
        request(at - timedelta(minutes=25), 2001, CELLS[0])  # late for two or three windows of six
    elif line == 150:
        request(at - timedelta(minutes=75), 2002, CELLS[0])  # late for all
    else:
        request(at, rider, CELLS[cell])
