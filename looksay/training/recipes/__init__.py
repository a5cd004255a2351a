"""One file per family: functions that return the stages of its training."""
