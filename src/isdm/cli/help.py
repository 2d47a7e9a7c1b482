"""How `isdm --help` is ordered: the panels of the commands, and what to do first."""

from typer.core import TyperGroup

START = "Start here"
MAKE = "1. Make a model of your images"
PAINT = "2. Paint a synthetic dataset, keep what is good"
MEASURE = "3. Measure what it brings"
USE = "Look and paint in the browser"
FURTHER = "Further"

INTRODUCTION = """Paint new images for given masks, make a synthetic segmentation dataset of them, and measure
honestly what it brings.

First: 'isdm demo' runs the whole way on built-in data in minutes; 'isdm doctor' says what this machine has.

With your own images and masks: 'isdm data import photos tiles --size 256', then 'isdm train tiles --out model',
then down the list. 'isdm COMMAND --help' explains each."""


class DataFirst(TyperGroup):
    """Commands in the order of the way: `data` before what reads datasets, though Typer puts groups last."""

    def list_commands(self, ctx: object) -> list[str]:
        """Names of the commands in the order of the help."""
        names = [name for name in self.commands if name != "data"]
        place = names.index("train")
        return [*names[:place], "data", *names[place:]]
