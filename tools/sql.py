"""Whether SQL names its columns: else what it means changes with a migration."""

import re

from tools.running import ROOT, step

# A `*` takes what the table has. Of UNNEST's arrays all are meant: the INSERT or IN before it names them.
EVERYTHING = re.compile(
    r"""
      \b(?:SELECT|RETURNING)[\s\\]+(?:DISTINCT[\s\\]+)?(?:\w+\.)?\*(?![\s\\]*FROM[\s\\]+UNNEST\b)
    | ,[\s\\]*[a-z]\w*\.\*
    | \bINSERT[\s\\]+(?:OR[\s\\]+[A-Z]+[\s\\]+)?INTO[\s\\]+\w+[\s\\]+(?:VALUES|SELECT)\b
    """,
    re.VERBOSE,
)


def check_sql():
    """The names of the checks that failed."""
    step("SQL names its columns")
    found = []
    for folder in ("services", "e2e", "cli"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix not in (".rs", ".sql"):
                continue
            text = path.read_text("utf-8")
            for match in EVERYTHING.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                found.append(f"{path.relative_to(ROOT)}:{line}: {' '.join(match[0].split())}")
    for place in found:
        print(f"{place}: name the columns")
    return ["SQL names its columns"] if found else []
