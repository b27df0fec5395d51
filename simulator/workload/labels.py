"""Columns of names, of sessions or tenants, which become whole numbers as batch after batch comes in."""

import re

import numpy as np

from simulator.arrays import Ints
from simulator.errors import InputError
from simulator.workload.checks import LARGEST_INTEGER
from simulator.workload.containers import Batch, Container, Label

_WHOLE = re.compile(r"[+-]?\d{1,18}")


class Labels:
    """One column: labels get numbers in order of appearance, until ``finished`` tells whether they are numbers."""

    def __init__(self, table: Container, name: str, may_be_empty: bool = True) -> None:
        """``may_be_empty``: whether a row may go without one, which is then -1."""
        self.table = table
        self.name = name
        self.may_be_empty = may_be_empty
        self._numbered: dict[Label, int] = {}
        self._first_row: list[int] = []  # of each label

    def add(self, batch: Batch) -> Ints:
        """Return the numbers of a batch's labels."""
        codes, labels = batch.labels[self.name]
        if not self.may_be_empty and len(codes) and codes.min() < 0:
            row = batch.first_row + int(np.argmax(codes < 0))
            raise InputError(
                f"{self.table.where(row)}: {self.name} is empty; expected a whole number >= 0 or a text"
            )
        known = len(self._numbered)
        places = [self._numbered.setdefault(label, len(self._numbered)) for label in labels]
        if len(self._numbered) > known:
            first = np.empty(len(labels) + 1, np.int64)  # row of each label, and one entry for none
            first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
            self._first_row += [
                batch.first_row + row
                for row, place in zip(first.tolist(), places, strict=False)
                if place >= known
            ]
        return np.array([*places, -1], np.int64)[codes]

    @property
    def names(self) -> tuple[str, ...]:
        """The labels as texts, by their numbers."""
        return tuple(map(str, self._numbered))

    def finished(self, numbers: Ints) -> Ints:
        """Return whole numbers >= 0 as they are in the table, numbers of texts as they were given; -1 stays.

        Raises ``InputError`` for the first whole number that is out of range.
        """
        labels = list(self._numbered)
        if self.table.labels_are_texts and all(_WHOLE.fullmatch(str(label)) for label in labels):
            labels = [int(label) for label in labels]
        if any(isinstance(label, str) for label in labels):
            return numbers
        for label, row in zip(labels, self._first_row, strict=True):
            if not 0 <= int(label) <= LARGEST_INTEGER:
                raise InputError(
                    f"{self.table.where(row)}: {self.name} is {label}; expected a whole number from 0 to"
                    f" {LARGEST_INTEGER}, or a text"
                )
        return np.array([*labels, -1], np.int64)[numbers]
