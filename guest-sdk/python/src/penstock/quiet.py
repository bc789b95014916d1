"""Whether log and metrics are held back: rows that are applied once more to undo a rejected one have
been logged and counted already."""

on = False
