#!/usr/bin/env python3
"""Checks what the chart does with values that leave out or say too much: check.py HELM

Every map of values.schema.json is set to null: what is rendered is then what the defaults render to, so that
templates/_defaults.tpl says the same as values.yaml. What must be refused is refused, by its name.
"""

import copy
import functools
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHART = Path(__file__).resolve().parent / "agora"
# What has no default.
NEEDED = {"nats": {"url": "nats://nats:4222"}, **{name: {"postgres": {"urlSecret": {"name": f"{name}-url"}}} for name in ("post", "comment", "moderation")}}
EVERYTHING = {
    "query": {"fallback": {"enabled": True}},
    "ingress": {"enabled": True, "host": "agora.example.org", "tls": {"clusterIssuer": "letsencrypt"}},
    "gateway": {"enabled": True, "parentRefs": [{"name": "public"}], "host": "agora.example.org", "webHost": "web.example.org"},
    "keda": {"enabled": True},
    "probe": {"enabled": True},
    "monitoring": {"serviceMonitors": {"enabled": True}, "prometheusRule": {"enabled": True}, "dashboards": {"enabled": True}},
    "nats": {"tls": {"secret": "nats-tls"}, "credentials": {"secret": "creds"}},
}
TRIAL = {"nats": {"bundled": {"enabled": True}}, "postgres": {"bundled": {"enabled": True}}}
# Maps of which null means none; and that by which secrets are made, which are others each time.
NONE = re.compile(r"\.resources\.(requests|limits)$|^secrets$")

DIGEST = "sha256:" + 64 * "7"
# What is said over NEEDED, and what must then stand in what is rendered.
RENDERED = [
    ({}, "- {name: AGORA_INSTALLATION__NAME, value: $(AGORA_NAMESPACE)/agora}"),
    ({"fullnameOverride": "talk"}, "- {name: AGORA_INSTALLATION__NAME, value: $(AGORA_NAMESPACE)/talk}"),
    ({"installation": {"name": "here/there"}}, '- {name: AGORA_INSTALLATION__NAME, value: "here/there"}'),
    ({"image": {"registry": "example.org/", "digests": {"query": DIGEST}}}, f'image: "example.org/agora-query@{DIGEST}"'),
    ({"image": {"digests": {"cli": DIGEST}}}, f'image: "agora@{DIGEST}"'),
    ({"image": {"digests": {"cli": DIGEST}}}, 'image: "agora-post:'),
    ({"nats": {"tls": {"secret": "ca"}}}, "- {name: AGORA_NATS__CA_FILE, value: /etc/agora/nats-tls/ca.pem}"),
    ({"nats": {"tls": {"secret": "ca", "clientCertificate": True}}}, "- {name: AGORA_NATS__KEY_FILE, value: /etc/agora/nats-tls/key.pem}"),
    ({"post": {"env": {"A": "b"}}}, "- name: A\n              value: b\n"),
    ({"post": {"env": [{"name": "A", "value": "1"}]}}, '- name: A\n              value: "1"\n'),
    ({"extraObjects": [{"kind": "{{ .Release.Name }}-{{ .Chart.Name }}"}]}, "kind: 'agora-agora'"),
    ({"global": {"nodeSelector": {"a": "b"}}, "post": {"nodeSelector": {"c": "d"}}}, "nodeSelector:\n        c: d\n"),
    ({**TRIAL, "podSecurityContext": {"runAsUser": 4000}}, "runAsUser: 70\n"),
    ({"post": {"resources": {"limits": None}}}, "resources:\n            requests:\n"),
]
# What must not.
ABSENT = [
    ({**TRIAL, "podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}}, r"runAsUser|runAsGroup|fsGroup:"),
    ({"nats": {"tls": {"secret": "ca"}}}, r"AGORA_NATS__(CERT|KEY)_FILE"),
    ({"post": {"env": {"A": None}}}, r"name: A\b"),
    ({"global": {"nodeSelector": {"a": "b"}}, "post": {"nodeSelector": {"c": "d"}}}, r"a: b\n +c: d"),
]
# What is refused, and why.
REFUSED = [
    ({"post": {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}}, "post.env: A is given twice"),
    ({"query": {"env": {"AGORA_NATS__URL": "nats://other"}}}, "query.env: AGORA_NATS__URL is set by the chart"),
    ({"post": {"env": {"A": {"valueFrom": {}}}}}, "post/env"),
    ({"post": {"env": {"A B": "c"}}}, "post/env"),
    ({"comment": {"extraVolumes": [{"name": "tmp", "emptyDir": {}}]}}, "extraVolumes of comment: tmp is set by the chart"),
    ({"extraVolumes": [{"name": "a"}], "query": {"extraVolumes": [{"name": "a"}]}}, "extraVolumes of query: a is given twice"),
    ({"post": {"extraVolumeMounts": [{"name": "a", "mountPath": "/tmp"}]}}, "extraVolumeMounts of post: /tmp is set by the chart"),
    ({"query": {"extraContainers": [{"name": "query"}]}}, "extraInitContainers and extraContainers of query: query is set by the chart"),
    ({"post": {"extraContainers": [{"name": "a"}], "extraInitContainers": [{"name": "a"}]}}, "extraContainers of post: a is given twice"),
    ({"global": {"podLabels": {"app.kubernetes.io/name": "other"}}}, "app.kubernetes.io/name is set by the chart"),
    ({"post": {"serviceLabels": {"app.kubernetes.io/component": "other"}}}, "post.serviceLabels: app.kubernetes.io/component is set by the chart"),
    ({**TRIAL, "nats": {"tls": {"secret": "ca"}, "bundled": {"enabled": True}}}, "nats.tls.secret is for servers that nats.url names"),
    ({"installation": {"name": "a b"}}, "installation/name"),
    ({"installation": {"name": 129 * "a"}}, "installation/name"),
    ({"image": {"digests": {"post": "sha256:7"}}}, "image/digests/post"),
    ({"probe": {"enabled": True}, "auth": {"publicKeys": {"secret": "a"}, "serviceToken": {"secret": "b"}}}, "probe.enabled needs a token"),
    ({"probe": {"everyMinutes": 10}}, "probe/everyMinutes"),
    ({"keda": {"lagEvents": 10}}, "lagEvents"),
]

wrong = []


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    # Those of comment and moderation are post's.
    maps = sorted(path for path in find_maps(schema, schema) if not path.startswith(("comment.", "moderation.")))
    jobs = [(rendered, *case) for case in RENDERED] + [(absent, *case) for case in ABSENT] + [(refused, *case) for case in REFUSED]
    jobs += [(nulled, EVERYTHING, path) for path in maps]
    jobs += [(nulled, TRIAL, path) for path in maps if "." not in path or path.startswith(("nats.", "postgres."))]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda job: job[0](*job[1:]), jobs))
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(maps)} maps as null, {len(RENDERED) + len(ABSENT)} settings, {len(REFUSED)} refusals: all is well")


def find_maps(schema, part, path=""):
    """The paths of values that are maps with names of their own, or with any."""
    part = schema["definitions"][part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else part
    if part.get("type") != "object":
        return
    if path:
        yield path
    for name, value in part.get("properties", {}).items():
        yield from find_maps(schema, value, f"{path}.{name}" if path else name)


def nulled(values, path):
    given, left = merged(NEEDED, values), merged(NEEDED, values)
    put(given, path, None)
    take_out(left, path)
    code, output = render(given)
    expected_code, expected = render(left)
    where = f"{path}: null, over {json.dumps(values)}"
    if code != expected_code:
        wrong.append(f"{where}: {output}")
    elif code != 0 and message(output) != message(expected):
        wrong.append(f"{where} is refused otherwise than what is left:\n{output}{expected}")
    elif code == 0 and output != expected and not NONE.search(path):
        wrong.append(f"{where} is not as what is left: templates/_defaults.tpl says another default than values.yaml")


def put(values, path, value):
    *parents, last = path.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
    values[last] = value


def take_out(values, path):
    *parents, last = path.split(".")
    for parent in parents:
        values = values.get(parent, {})
    values.pop(last, None)


def message(output):
    return re.sub(r"\(agora/.*?\)", "", output)


def rendered(values, expected):
    code, output = render(merged(NEEDED, values))
    if code != 0 or expected not in output:
        wrong.append(f"{json.dumps(values)} does not render {expected!r}{': ' + output if code else ''}")


def absent(values, unexpected):
    code, output = render(merged(NEEDED, values))
    if code != 0 or re.search(unexpected, output):
        wrong.append(f"{json.dumps(values)} renders {unexpected!r}{': ' + output if code else ''}")


def refused(values, expected):
    code, output = render(merged(NEEDED, values))
    if code == 0 or expected not in output:
        wrong.append(f"{json.dumps(values)} is not refused with {expected!r}: {output if code else 'it is rendered'}")


def merged(first, second):
    """Both, the second one over the first; of maps within as well."""
    result = copy.deepcopy(first)
    for key, value in second.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else copy.deepcopy(value)
    return result


def render(values):
    # Secrets that the chart makes would be others each time.
    values = values if "secrets" in values else {**values, "secrets": {"generate": False}}
    return run(Path(sys.argv[1]).resolve(), json.dumps(values, sort_keys=True))


@functools.cache
def run(helm, values):
    command = [helm, "template", "agora", ".", "--namespace=agora", "--values=-"]
    # JSON is YAML, too.
    result = subprocess.run(command, cwd=CHART, input=values, capture_output=True, encoding="utf-8")
    return result.returncode, result.stdout if result.returncode == 0 else result.stderr


if __name__ == "__main__":
    main()
