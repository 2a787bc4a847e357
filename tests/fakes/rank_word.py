"""What a rank says, as its thread would write it."""

from typing import Any


def word(**more: Any) -> dict[str, Any]:
    group = {"number": "0", "id": "ab", "desc": "default_pg", "ranks": [0, 1], "asked": 7, "done": 6, "oldest_s": 2.5, "pending": [[9, 7, "gloo:all_reduce", False, 2.5]]}
    return {"version": 1, "number": 3, "rank": 1, "ranks": 2, "job": "42", "attempt": 0, "groups": [group], "timed": [["0", "all_reduce", 6, 1000, 0.25, 1.5]], **more}
