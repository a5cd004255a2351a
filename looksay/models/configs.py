"""Configurations of transformers to JSON and back, exactly."""

from __future__ import annotations

import json
from typing import Any


def config_to_json(config: Any) -> dict[str, Any]:
    """All settings of a configuration, defaults included: they change from release to release."""
    found: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    return found


def config_from_json(settings: dict[str, Any]) -> Any:
    """The configuration again. Some constructors derive one setting from another (T5 its output scale);
    what was written down wins."""
    from transformers import AutoConfig

    plain = dict(settings)
    config = AutoConfig.for_model(plain.pop("model_type"), **plain)
    for name, value in plain.items():
        simple = value is None or isinstance(value, bool | int | float | str)
        if simple and name != "dtype" and getattr(config, name, value) != value:
            setattr(config, name, value)
    return config
