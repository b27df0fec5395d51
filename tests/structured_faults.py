"""Files whose values, keys, rows or encoding were changed one by one, so that most are still told by their format."""

import csv
import gzip
import io
import json
import random
import re

_MARK = "\ue000"
_NUMBERS = (
    "0", "-0", "-1", "1", "0.5", "-0.0", "1e18", "1e308", "1e400", "-1e400", "NaN", "Infinity",
    "99999999999999999999999", "9223372036854775808", "2147483648", "1e-320",
)  # fmt: skip
_WORDS = (
    '""', '"x"', "null", "true", "false", "[]", "{}", "[null]", '{"a": 1}', '"\\u0000"', '"\\u001b[31mred\\u2028"',
    '"\\ud800"', '"1_000"', '" 12 "', '"12"', '"\\uff11\\uff12"', '"0x10"', '"007"', '"1,5"', '"2026-13-45"', '"nan"',
    '"2026-01-01T00:00:00Z"', '"9999-12-31T23:59:59.999999999+14:00"', '"0001-01-01"', '"a\\nb"', '"a,b"', '"\'"',
)  # fmt: skip
_CELLS = (
    "", " ", "x", "null", "true", "\x00", "\x1b[31mred", "1_000", " 12 ", "\uff11\uff12", "0x10", "007", "1,5", "a\nb",
    "\"", "2026-13-45", "2026-01-01T00:00:00Z", "9999-12-31 23:59:59", "0001-01-01", "12 ", "+12", "--", "=1+1",
)  # fmt: skip


def altered(data: bytes, name: str, rng: random.Random) -> bytes:
    """Return a file of the kind that ``name`` ends on with one to three changes to its values, keys or rows.

    One in ten is changed as a whole besides: its encoding, its line ends, its length.
    """
    text = data.decode("utf-8")
    change = _csv if name.endswith(".csv") else _json_lines if name.endswith(".jsonl") else _json
    for _ in range(rng.randint(1, 3)):
        try:
            text = change(text, rng)
        except (ValueError, RecursionError):  # what was changed before is no longer to be taken apart
            break
    return _as_a_whole(text, rng) if not rng.randrange(10) else text.encode("utf-8", "surrogatepass")


def _as_a_whole(text: str, rng: random.Random) -> bytes:
    plain = text.encode("utf-8", "surrogatepass")
    kind = rng.randrange(9)
    if kind == 0:
        return b"\xef\xbb\xbf" + plain
    if kind == 1:
        return text.encode("utf-16", "surrogatepass")
    if kind == 2:
        return plain.replace(b"\n", b"\r\n")
    if kind == 3:
        return plain.replace(b"\n", b"\r")
    if kind == 4:
        return plain[: rng.randrange(len(plain) + 1)]
    if kind == 5:
        return gzip.compress(plain, 1)
    if kind == 6:
        return gzip.compress(b" " * (20 << 20), 9)  # which grows a thousandfold
    if kind == 7:
        return plain + rng.choice((b"\n\n\n", b"\x00", b"garbage", b"\n,,,\n", b"\n{}\n", b"\n[]\n"))
    return b"\xe9".join(plain.split(b"e", 1))  # Latin-1


def _value(old: object, rng: random.Random) -> str:
    """Return JSON that is to stand for a value, for a number mostly one near it."""
    number = isinstance(old, int | float) and not isinstance(old, bool)
    kind = rng.randrange(20)
    if kind < 9 and number:
        return repr(_near(old, rng))
    if kind < 13:
        return rng.choice(_NUMBERS)
    if kind < 18:
        return rng.choice(_WORDS)
    if kind == 18:
        depth = rng.choice((50, 1100, 60_000))
        return rng.choice(("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth))
    return json.dumps("y" * rng.choice((300, 70_000)))


def _near(old: float, rng: random.Random) -> float:
    return rng.choice((old + 1, old - 1, old * 10, -old, old / 1000, old + 0.5, old * 1000, old + 1e-9))


def _places(value: object, path: tuple = ()) -> list[tuple]:
    """Return the paths of all values inside, without those in long lists but the first of them."""
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in list(inner)[:12]:
        found += _places(each, (*path, key))
    return found


def _changed(value: object, rng: random.Random) -> str:
    """Return the JSON of a value with one change inside."""
    places = _places(value)
    if not places:
        return _value(value, rng)
    *path, last = rng.choice(places)
    holder = value
    for key in path:
        holder = holder[key]
    kind = rng.randrange(10)
    if kind == 0 and isinstance(holder, dict):
        del holder[last]
    elif kind == 1 and isinstance(holder, dict):
        text = json.dumps(value)
        name = json.dumps(last) + ":"
        return text.replace(name, f"{name} {_value(holder[last], rng)}, {name}", 1)
    elif kind == 2 and isinstance(holder, dict):
        holder[f"{last} "] = holder.pop(last)
    elif kind == 3 and isinstance(holder, list):
        holder.insert(last, holder[rng.randrange(len(holder))])
    elif kind == 4 and isinstance(holder, list):
        del holder[last]
    else:
        raw = _value(holder[last], rng)
        holder[last] = _MARK
        return json.dumps(value).replace(json.dumps(_MARK), raw)
    return json.dumps(value)


def _json(text: str, rng: random.Random) -> str:
    return _changed(json.loads(text), rng)


def _json_lines(text: str, rng: random.Random) -> str:
    rows = text.splitlines()
    at = rng.randrange(len(rows))
    if rng.randrange(8):
        rows[at] = _changed(json.loads(rows[at]), rng)
    else:
        _shuffled(rows, at, 0, rng)
    return "\n".join(rows) + "\n"


def _csv(text: str, rng: random.Random) -> str:
    rows = list(csv.reader(io.StringIO(text)))
    at = rng.randrange(1, len(rows))
    kind = rng.randrange(16)
    if kind == 0:
        _shuffled(rows, at, 1, rng)
    elif kind == 1:
        del rows[at][rng.randrange(len(rows[at]))]
    elif kind == 2:
        rows[at].append("7")
    elif kind == 3:
        column = rng.randrange(len(rows[0]))
        for row in rows:
            del row[column : column + 1]
    elif rows[at]:
        column = rng.randrange(len(rows[at]))
        old = rows[at][column]
        number = re.fullmatch(r"-?\d+(\.\d+)?", old)
        if number and rng.randrange(2):
            rows[at][column] = repr(_near(float(old) if "." in old else int(old), rng))
        else:
            rows[at][column] = rng.choice((*_NUMBERS, *_CELLS, "z" * 70_000))
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _shuffled(rows: list, at: int, first: int, rng: random.Random) -> None:
    """Swap two rows, or have one twice or not at all."""
    other = rng.randrange(first, len(rows))
    kind = rng.randrange(3)
    if kind == 0:
        rows[at], rows[other] = rows[other], rows[at]
    elif kind == 1:
        rows.insert(at, rows[other])
    elif len(rows) > first + 1:
        del rows[at]
