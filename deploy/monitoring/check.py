#!/usr/bin/env python3
"""Checks rules, their tests, runbooks and dashboards: check.py PROMTOOL [HELM]

Rules are also tested as the chart renders them for installations of other names. Without HELM that is the one on the
PATH, or the one in .tools/.
That every metric of Agora's own exists is checked by an end-to-end test, against programs
that run (e2e/tests/it/metrics.rs).

What a page in runbooks/ quotes of a log, an error or a status stands in backticks, or is searched for with grep. A
quotation of several words is in the sources, word for word; `…` stands for what a program puts in. Those of other
programs are listed in external-texts.txt.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CHART = ROOT / "deploy" / "helm" / "agora"
FILES = CHART / "files"
SEVERITIES = ("page", "ticket")
# What each metric in a rule must be chosen by, in the words that the chart replaces. NATS may serve others, too.
CHOSEN_BY = (
    (r"(?:\w+:)?agora_", ['namespace="agora",release="agora"']),
    (r"kube(?:let)?_", ['namespace="agora"', "agora-"]),
    (r"certmanager_", ['namespace="agora"', 'name=~"agora-tls"']),
)
# What a command begins with: several words in backticks are one, or a quotation.
COMMANDS = set("admin agora cmctl curl dead-letters helm kubectl SELECT".split())
# Comments, characters, raw strings and strings of Rust: what comes first hides what only looks like another one in it.
RUST = re.compile(r"""//[^\n]*|'(?:\\.|[^\\'])'|r(#*)"(.*?)"\1|"((?:[^"\\]|\\.)*)\"""", re.S)
# What stands in an expression and is no metric.
WORDS = set("by without on ignoring group_left group_right and or unless bool offset inf nan".split())

wrong = []


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    promtool = sys.argv[1]
    helm = sys.argv[2] if len(sys.argv) == 3 else find_helm()
    run("dashboards and their source", sys.executable, HERE / "dashboards" / "generate.py", "--check")
    rules = sorted((FILES / "rules").glob("*.yaml"))
    tests = sorted((HERE / "tests").glob("*.yaml"))
    run("rules", promtool, "check", "rules", *rules)
    run("tests of rules", promtool, "test", "rules", *tests)
    if helm is None:
        print("no helm: rules are not tested as the chart renders them")
    else:
        for test in sorted((HERE / "tests" / "rendered").glob("*.yaml")):
            check_rendered(helm, promtool, test)

    recorded, alerts, expressions = set(), {}, []
    for file in rules:
        for rule in parse(file):
            check_chosen(f"{file.name}: {rule.get('alert') or rule['record']}", rule["expr"])
            expressions.append((f"{file.name}: {rule.get('alert') or rule['record']}", rule["expr"]))
            if "alert" in rule:
                alerts[rule["alert"]] = rule
            else:
                recorded.add(rule["record"])
    for file in sorted((FILES / "dashboards").glob("*.json")):
        for panel in json.loads(file.read_text("utf-8"))["panels"]:
            for target in panel.get("targets", []):
                expressions.append((f"{file.name}: {panel['title']}", target["expr"]))
    for where, expression in runbooks():
        expressions.append((where, expression))
    check_syntax(promtool, expressions)
    check_alerts(alerts)
    check_tests(alerts, tests)
    check_metrics(expressions, recorded)
    check_compose()
    check_logs()
    quoted = check_texts()
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(alerts)} alerts, {len(expressions)} expressions, {quoted} quotations: all is well")


def run(what, *command):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    if result.returncode != 0:
        wrong.append(f"{what}:\n{result.stdout}")
    return result.returncode == 0


def find_helm():
    there = sorted((ROOT / ".tools").glob("helm-*"))
    return shutil.which("helm") or (there[-1] if there else None)


def check_rendered(helm, promtool, test):
    """Runs a test against the rules of the release that its first line names."""
    text = test.read_text("utf-8")
    release, *options = re.match(r"# Rendered: (.+)\n", text)[1].split()
    command = [helm, "template", release, CHART, f"--values={CHART / 'values-small.yaml'}", "--show-only=templates/monitoring.yaml"]
    enabled = "--set=monitoring.serviceMonitors.enabled=true,monitoring.prometheusRule.enabled=true"
    result = subprocess.run([*command, enabled, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    rules = re.findall(r"^kind: PrometheusRule\n(?:.*\n)*?spec:\n((?:(?:  .*)?\n)+)", result.stdout, re.M)
    names = [path.name for path in sorted((FILES / "rules").glob("*.yaml"))]
    if result.returncode != 0 or len(rules) != len(names):
        wrong.append(f"{test.name}: the chart renders no rules:\n{result.stdout}")
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, rule in zip(names, rules):
            Path(folder, name).write_text(textwrap.dedent(rule), "utf-8")
        shutil.copy(test, folder)
        run(f"rendered rules: {test.name}", promtool, "test", "rules", Path(folder, test.name))


def parse(file):
    """The rules of a file, without a library for YAML: they are written in one style."""
    rules, key = [], None
    for line in file.read_text("utf-8").splitlines():
        indent = len(line) - len(line.lstrip())
        begin = re.match(r"      - (record|alert): (\S+)$", line)
        pair = re.match(r" +([a-z_]+): ?(.*)$", line)
        if begin:
            rules.append({begin[1]: begin[2]})
            key = None
        elif key and indent >= 10:
            rules[-1][key] += line.strip() + "\n"
        elif rules and pair and indent in (8, 10):
            key = pair[1] if pair[2] == "|" else None
            rules[-1][pair[1]] = "" if key else pair[2].strip('"')
    if not rules or any("expr" not in rule for rule in rules):
        wrong.append(f"{file.name} is not written as the others are: it cannot be read")
    return rules


def runbooks():
    """The queries that runbooks tell to make: each line is one."""
    for file in sorted((HERE / "runbooks").glob("*.md")):
        for block in re.findall(r"```promql\n(.*?)```", file.read_text("utf-8"), re.S):
            for line in block.splitlines():
                yield f"runbooks/{file.name}", line


def check_syntax(promtool, expressions):
    """Whether promtool can read every expression, with values for what Grafana puts in."""
    rules = []
    for number, (_, expression) in enumerate(expressions):
        text = expression.replace("$__rate_interval", "5m").replace("$namespace", ".*")
        rules.append({"record": f"expression_{number}", "expr": text})
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        # JSON is YAML, too.
        json.dump({"groups": [{"name": "expressions", "rules": rules}]}, file)
        file.flush()
        if not run("expressions", promtool, "check", "rules", "--lint=none", file.name):
            wrong[-1] = re.sub(r"expression_(\d+)", lambda number: expressions[int(number[1])][0], wrong[-1])


def check_chosen(where, expression):
    """Every metric is that of one installation: another one in the same Prometheus neither hides it nor adds to it."""
    for metric, chosen in re.findall(r"(?<![\w:.\"])((?:\w+:)?(?:agora|kube|kubelet|certmanager)_[\w:]+)(\{[^}]*\})?", expression):
        by = next(by for pattern, by in CHOSEN_BY if re.match(pattern, metric))
        for needed in by:
            if needed not in chosen:
                wrong.append(f"{where}: {metric} is not chosen by {needed}")


def check_compose():
    """Docker Compose has the same rules, and no chart that sets what they choose by."""
    path = ROOT / "deploy" / "compose" / "prometheus.yaml"
    if "labels: {namespace: agora, release: agora}" not in path.read_text("utf-8"):
        wrong.append(f"{path.relative_to(ROOT)}: its targets have not the labels that rules choose by")


def check_logs():
    """With a selector kubectl shows the last ten lines of a pod, unless told how many."""
    pages = [*ROOT.glob("*.md"), *(path for path in (ROOT / "deploy").rglob("*") if path.suffix in (".md", ".txt"))]
    for path in sorted(pages):
        text = path.read_text("utf-8").replace("\\\n", " ")
        for command in re.findall(r"kubectl\b[^|;&`\n]*\blogs\b[^|;&`\n]*", text):
            if re.search(r" (-l|--selector)", command) and "--tail" not in command:
                wrong.append(f"{path.relative_to(ROOT)}: shows ten lines without --tail=-1: {command.strip()}")


def check_texts():
    """What runbooks quote, programs say: whoever greps for it during an outage finds it."""
    listed = [line.split("  ")[0] for line in (HERE / "external-texts.txt").read_text("utf-8").splitlines()]
    external = {line for line in listed if line and not line.startswith("#")}
    said, used, number = texts(), set(), 0
    for file in sorted((HERE / "runbooks").glob("*.md")):
        for text in quotations(file.read_text("utf-8")):
            number += 1
            if text in external:
                used.add(text)
                continue
            # An error and its cause, or parts around what is put in, may stand in different strings.
            for part in re.split(r" *… *|: ", text):
                if not is_said(part, said):
                    wrong.append(f"runbooks/{file.name}: no program says {part!r}")
    for text in external - used:
        wrong.append(f"external-texts.txt: nothing quotes {text}")
    return number


def quotations(page):
    """What a page quotes, or greps for: of several words."""
    blocks = re.findall(r"```console\n(.*?)```", page, re.S)
    for pattern in re.findall(r"\bgrep (?:-\w+ )*'([^']+)'", "\n".join(blocks)):
        yield from (text for text in pattern.split("|") if " " in text)
    for text in re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", page, flags=re.S)):
        text = " ".join(text.split())
        if " " in text and text.split()[0] not in COMMANDS and "=" not in text and "(" not in text:
            yield text


def texts():
    """All strings in the programs' sources, each as its parts around what is put in."""
    found = []
    for folder in ("services", "cli"):
        for path in sorted((ROOT / folder).rglob("src/**/*.rs")):
            if not {"tests", "testing"} & {path.stem, path.parent.name}:
                source = path.read_text("utf-8").split("#[cfg(test)]\nmod tests {")[0]
                strings = (match[2] or match[3] for match in RUST.finditer(source))
                plain = (re.sub(r"\\\n\s*", "", string) for string in strings if string)
                found += [re.split(r"\{[^{}]*\}", string) for string in plain]
    return found


def is_said(part, said):
    """Whether a string has the part, or what comes before a hole is of one and what fills it begins another."""
    if any(part in piece for pieces in said for piece in pieces):
        return True
    before = {piece for pieces in said for piece in pieces[:-1] if piece.strip()}
    for space in re.finditer(" ", part):
        head, tail = part[: space.end()], part[space.end() :]
        if any(piece.endswith(head) for piece in before) and any(pieces[0].startswith(tail) for pieces in said):
            return True
    return False


def check_alerts(alerts):
    for name, rule in alerts.items():
        for needed in ("summary", "description"):
            if not rule.get(needed):
                wrong.append(f"{name} has no {needed}")
        if rule.get("severity") not in SEVERITIES:
            wrong.append(f"{name} has none of the severities {', '.join(SEVERITIES)}")
        if rule.get("runbook_url") != f"deploy/monitoring/runbooks/{name}.md":
            wrong.append(f"the runbook_url of {name} is not that of its page")
    pages = {path.stem: path.read_text("utf-8") for path in (HERE / "runbooks").glob("*.md")}
    for name in alerts.keys() - pages.keys():
        wrong.append(f"{name} has no page in runbooks/")
    for name in pages.keys() - alerts.keys():
        wrong.append(f"runbooks/{name}.md belongs to no alert")
    for name, page in pages.items():
        for heading in ("## What it means", "## Check", "## Fix", "## Wake somebody"):
            if f"\n{heading}\n" not in page:
                wrong.append(f"runbooks/{name}.md has no heading {heading}")


def check_tests(alerts, tests):
    """Each alert fires in a test, and does not in another one."""
    fires, rests = set(), set()
    for file in tests:
        found = re.findall(r"alertname: (\w+)\n +exp_alerts:( \[\])?", file.read_text("utf-8"))
        for name, empty in found:
            (rests if empty else fires).add(name)
    for name in alerts:
        if name not in fires:
            wrong.append(f"no test has {name} fire")
        if name not in rests:
            wrong.append(f"no test has {name} not fire")
    for name in (fires | rests) - alerts.keys():
        wrong.append(f"{name} is tested and does not exist")


def check_metrics(expressions, recorded):
    """A metric is Agora's own, recorded by a rule, or known to come from elsewhere."""
    lines = (HERE / "external-metrics.txt").read_text("utf-8").splitlines()
    external = {line.split()[0] for line in lines if line.strip() and not line.startswith("#")}
    used = set()
    for where, expression in expressions:
        for metric in metrics(expression):
            used.add(metric)
            # What begins with `process_` the programs expose, too.
            own = metric.startswith(("agora_", "process_"))
            if not (own or metric in recorded or metric in external):
                wrong.append(f"{where}: nobody is known to expose {metric}")
    for metric in external - used:
        wrong.append(f"external-metrics.txt: nothing uses {metric}")


def metrics(expression):
    """The names of metrics in an expression of PromQL."""
    text = re.sub(r'"(\\.|[^"\\])*"', '""', expression)
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", text)
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", text)
    names = re.findall(r"(?<![\w:.$])([a-zA-Z_:][\w:]*)(\s*\()?", text)
    return {name for name, call in names if not call and name.lower() not in WORDS}


if __name__ == "__main__":
    main()
