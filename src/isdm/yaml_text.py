"""YAML of strangers: plain values only, and never more of them than the text could honestly hold.

A name (`&a`) that is used again and again (`*a`) makes a few lines stand for billions of values, which are only
counted out when somebody walks through them. Here each use counts as all that it stands for.
"""

from typing import Any

import yaml

MOST_CHARACTERS = 4 * 2**20
MOST_VALUES = 100_000
DEEPEST = 100
LONGEST_NUMBER = 100
"""Digits of a whole number; Python itself will not write out one of thousands."""


class YamlTextError(ValueError):
    """A text is no YAML of plain values, or stands for too many; the message is one line."""


def parse_yaml(text: str) -> Any:
    """The plain values that a YAML text stands for.

    Raises:
        YamlTextError: it is not YAML, asks for anything but plain values, is nested too deeply, or too large.
    """
    if len(text) > MOST_CHARACTERS:
        raise YamlTextError(f"it has {len(text):,} characters; at most {MOST_CHARACTERS:,} are read")
    try:
        return yaml.load(text, _CountingLoader)  # a SafeLoader: it constructs plain values and nothing else
    except RecursionError:
        raise YamlTextError("it is nested too deeply") from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, OverflowError) as error:
        # Beside its own errors PyYAML lets through those of a value that does not fit its tag.
        raise YamlTextError(" ".join(str(error).split())[:300] or type(error).__name__) from None


class _CountingLoader(yaml.SafeLoader):
    """A safe loader that counts what each node stands for, names followed."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._num_values: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        is_name = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        if node is not None and id(node) not in self._num_values:
            if is_name:  # of a value that is not finished yet
                raise yaml.YAMLError("a value contains itself")
            self._num_values[id(node)] = self._counted(node)
        return node

    def _counted(self, node: yaml.Node) -> int:
        if isinstance(node, yaml.ScalarNode):
            return 1
        is_mapping = isinstance(node, yaml.MappingNode)
        parts = [part for pair in node.value for part in pair] if is_mapping else node.value
        count = 1 + sum(self._num_values[id(part)] for part in parts)
        if count > MOST_VALUES:
            raise yaml.YAMLError(f"it stands for more than {MOST_VALUES:,} values, as bombs of repeated names do")
        return count

    def fetch_flow_collection_start(self, TokenClass: type[yaml.Token]) -> None:  # noqa: N803
        if self.flow_level > DEEPEST:  # before PyYAML's time grows with the square of the depth
            raise yaml.YAMLError("it is nested too deeply")
        super().fetch_flow_collection_start(TokenClass)

    def construct_whole_number(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > LONGEST_NUMBER:
            raise yaml.YAMLError(f"a number has {len(node.value):,} digits; at most {LONGEST_NUMBER} are read")
        return super().construct_yaml_int(node)


_CountingLoader.add_constructor("tag:yaml.org,2002:int", _CountingLoader.construct_whole_number)
