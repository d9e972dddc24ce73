"""Reading what people write by hand: YAML and lists of names. Whatever is wrong with a file is one line."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from lrptool.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a key given twice is a mistake, not a silent loss."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        """Build a mapping; refuse duplicate keys."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [key for index, key in enumerate(keys) if key in keys[:index]]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"key '{twice[0]}' is given twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


def read_yaml_text(text: str, where: str) -> Any:
    """Return what a YAML text says, in plain values.

    Raises
    ------
    ConfigError
        Anything that is not YAML, or a key given twice.
    """
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:
        raise ConfigError(f"{where}: not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigError(f"{where}: not YAML: nested too deeply") from None


def read_yaml(path: Path) -> Any:
    """Return what a YAML file says; ConfigError as of `read_yaml_text`, or where it cannot be read."""
    return read_yaml_text(_read(path), str(path))


def read_text_lines(path: Path) -> tuple[str, ...]:
    """Return the lines of a UTF-8 text file that are not empty, stripped; ConfigError where it cannot be read."""
    return tuple(line.strip() for line in _read(path).splitlines() if line.strip())


def _read(path: Path) -> str:
    """Return a file's text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: cannot be read: not a text file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
