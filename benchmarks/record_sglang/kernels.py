"""Where tokens lie in pages: on a GPU two kernels of SGLang's allocator say so, here plain loops with their results."""

from collections.abc import Callable
from typing import Any


class Launched:
    """A function that is called as a kernel is: ``launched[grid](...)``."""

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function

    def __getitem__(self, grid: object) -> Callable[..., None]:
        return self.function


def alloc_extend(
    before: Any, after: Any, last: Any, free_pages: Any, out: Any, _: int, page: int, __: int
) -> None:
    """Places for the tokens ``before[i]`` to ``after[i]`` of each request, first in the rest of its last page."""
    pages, places = iter(free_pages.tolist()), []
    for start, stop, place in zip(before.tolist(), after.tolist(), last.tolist(), strict=True):
        for position in range(start, stop):
            if position % page == 0:
                place = next(pages, 0) * page - 1  # too few: the allocator finds out by itself
            place += 1
            places.append(place)
    out.copy_(out.new_tensor(places))


def alloc_decode(lengths: Any, last: Any, free_pages: Any, out: Any, _: int, page: int) -> None:
    """A place for the last token of each request, ``lengths[i]`` tokens long."""
    pages = iter(free_pages.tolist())
    places = [
        next(pages, 0) * page if (length - 1) % page == 0 else place + 1
        for length, place in zip(lengths.tolist(), last.tolist(), strict=True)
    ]
    out.copy_(out.new_tensor(places))
