"""The papers' claims as experiments on scenes: arms are trained with seeds, measured, compared, judged by a rule.

A module here that is no machinery holds the claims of one family: `CLAIMS`, a tuple of `base.Claim`.
"""

MACHINERY = frozenset(
    {"base", "build", "measuring", "page", "released", "results", "run", "verdict"}
)
