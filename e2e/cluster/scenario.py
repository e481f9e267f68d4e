"""./dev cluster: Agora on a real Kubernetes, and what callers notice of what happens to its pods.

Every step says what it saw, or why it failed; the table at the end shows all of them. Whatever is done is done by
kubectl and helm against the context that is given.
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy" / "helm" / "agora"
RELEASE = "agora"
SERVICES = ("post", "comment", "moderation", "query")
PORTS = {"post": 7401, "comment": 7402, "moderation": 7403, "query": 7404}
# How many replicas each service has: of one, nobody would answer while it is replaced.
REPLICAS = 2

# How long something may take, in seconds.
PATIENCE = 300
# How long the load goes on between two things that happen.
REST = 5
# How long callers may still be told that PostgreSQL is away after its pod is ready again.
DATABASE_GRACE = 10
# What is written and read a second, and what drives the autoscaler.
WRITES, READS = 50, 50
MANY_READS = 500

# Where custom resources are defined that the chart can make: the Go module, and the files in it.
DEFINITIONS = (
    ("sigs.k8s.io/gateway-api", "v1.4.0", "config/crd/standard/*.yaml"),
    (
        "github.com/prometheus-operator/prometheus-operator",
        "v0.85.0",
        "example/prometheus-operator-crd/monitoring.coreos.com_[ps]*[rm]*.yaml",
    ),
    ("github.com/kedacore/keda/v2", "v2.18.0", "config/crd/bases/keda.sh_scaledobjects.yaml"),
)
# Values files of the chart that a combination is rendered with; see ci/README.md.
SIZES = ("values-trial.yaml", "values-small.yaml", "values-large.yaml")


class Failed(Exception):
    """Something is not as it must be; the text says what."""


class Skipped(Exception):
    """Something could not be tried; the text says why."""


def main(args, say, make_images):
    """Runs the scenario; `say` tells how far it is, and `make_images` builds images into a folder."""
    options = parse(args)
    started = None
    if options.start:
        why_not = start(options, say)
        if why_not:
            say(f"SKIPPED: {why_not}")
            return 0
        started = options.start if options.is_started else None
    try:
        cluster = Cluster(options, say)
        why_not = cluster.why_not()
        if why_not:
            say(f"SKIPPED: {why_not}")
            return 0
        folder = options.images
        if options.build:
            folder = ROOT / "target" / "images"
            make_images(folder, options.tag, options.profile)
        if folder:
            cluster.load(folder)
        return Scenario(cluster, options, say).run()
    finally:
        if started:
            say("ending the cluster")
            subprocess.run([started / "down.sh"])


def parse(args):
    parser = argparse.ArgumentParser(
        prog="./dev cluster",
        description="Installs the chart on a Kubernetes, runs `helm test`, and has pods fail, move and change while clients write and read.",
    )
    parser.add_argument("--context", help="of kubectl [default: the current one]")
    parser.add_argument("--namespace", default="agora-scenario", help="which is made, and removed at the end")
    images = parser.add_mutually_exclusive_group()
    images.add_argument("--images", type=Path, metavar="FOLDER", help="archives of images that are given to the cluster")
    images.add_argument("--build", action="store_true", help="make them first: ./dev images")
    parser.add_argument("--profile", default="quick", help="cargo's, for the images; `image` is what is released, and takes longer [default: quick]")
    parser.add_argument("--load", metavar="COMMAND", help="gives the cluster archives, such as `kind load image-archive` [default: that of --start]")
    parser.add_argument("--registry", default="localhost", help="what the images' names begin with")
    parser.add_argument("--tag", default="dev")
    parser.add_argument("--official", action="store_true", help="the official images of NATS and PostgreSQL, not those in FOLDER")
    parser.add_argument("--pull-policy", default="IfNotPresent", choices=["IfNotPresent", "Always", "Never"])
    parser.add_argument("--chart", type=Path, default=CHART, help=argparse.SUPPRESS)
    parser.add_argument(
        "--start",
        type=Path,
        metavar="FOLDER",
        default=os.environ.get("AGORA_TEST_CLUSTER") or None,
        help="start a cluster with FOLDER's up.sh first, and end it with down.sh [default: AGORA_TEST_CLUSTER]",
    )
    parser.add_argument("--default-repo", metavar="REGISTRY", help="where Skaffold pushes images that the cluster pulls [default with --start: localhost:5000]")
    parser.add_argument("--keep", action="store_true", help="leave everything as it is at the end")
    parser.add_argument("--only", metavar="STEPS", help="of these names, separated by commas: " + ", ".join(name for name, _ in STEPS))
    options = parser.parse_args(args)
    if options.only:
        unknown = set(options.only.split(",")) - {name for name, _ in STEPS}
        if unknown:
            parser.error(f"there is no step {', '.join(sorted(unknown))}")
    options.is_started = False
    return options


def start(options, say):
    """Starts the cluster of a folder; returns why it cannot."""
    folder = options.start = options.start.resolve()
    if not (folder / "up.sh").exists():
        return f"there is no {folder}/up.sh that would start a cluster"
    if os.geteuid() != 0:
        return "only root can start a cluster"
    for script in ("install.sh", "build.sh"):
        say(f"{script} of the cluster")
        if subprocess.run([folder / script]).returncode != 0:
            return f"{folder / script} failed"
    up = subprocess.run([folder / "up.sh"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
    options.is_started = up.returncode == 0
    if up.returncode != 0 and "already up" not in up.stdout:
        raise SystemExit(f"the cluster does not start:\n{up.stdout}")
    options.load = options.load or str(folder / "load.sh")
    options.default_repo = options.default_repo or "localhost:5000"
    return None


class Cluster:
    """kubectl and helm, in one namespace."""

    def __init__(self, options, say):
        self.options, self.say = options, say
        self.prefix = [options.start / "in.sh"] if options.start else []
        self.namespace = options.namespace

    def why_not(self):
        """Why there is no cluster to be used, if so."""
        for program in ("kubectl", "helm"):
            if not self.prefix and shutil.which(program) is None:
                return f"there is no {program} on the PATH"
        answer = self.run(self.command("kubectl", "get", "--raw", "/readyz"), check=False)
        if answer.returncode != 0:
            return f"no Kubernetes answers: {last_line(answer.stderr)}"
        return None

    def command(self, program, *args):
        context = {"kubectl": "--context", "helm": "--kube-context"}[program]
        chosen = [context, self.options.context] if self.options.context else []
        return [*self.prefix, program, *chosen, *args]

    def run(self, command, check=True, **more):
        result = subprocess.run(list(map(str, command)), capture_output=True, encoding="utf-8", errors="replace", **more)
        if check and result.returncode != 0:
            shown = " ".join(map(str, command[len(self.prefix) :][:4]))
            raise Failed(f"{shown} …: {last_line(result.stderr) or last_line(result.stdout)}")
        return result

    def kubectl(self, *args, check=True, **more):
        return self.run(self.command("kubectl", "--namespace", self.namespace, *args), check, **more).stdout

    def helm(self, *args, check=True, **more):
        return self.run(self.command("helm", *args, "--namespace", self.namespace), check, **more).stdout

    def get(self, *args):
        return json.loads(self.kubectl("get", *args, "--output=json"))

    def apply(self, thing):
        self.kubectl("apply", "--filename=-", input=json.dumps(thing))

    def pods(self, component):
        labels = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component={component}"
        found = self.get("pods", f"--selector={labels}")["items"]
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def rollout(self, component):
        kind = "statefulset" if component in ("query", "nats", "postgres") else "deployment"
        self.kubectl("rollout", "status", f"{kind}/{RELEASE}-{component}", f"--timeout={PATIENCE}s")

    def until(self, what, holds, patience=PATIENCE):
        """Waits until something holds, and returns it."""
        deadline = time.monotonic() + patience
        while True:
            found = holds()
            if found:
                return found
            if time.monotonic() > deadline:
                raise Failed(f"{what}: not within {patience} s")
            time.sleep(1)

    def load(self, folder):
        """Gives the cluster the images, those of Agora under a second tag, too."""
        if not self.options.load:
            self.say("images are not loaded: --load names no command")
            return
        archives = sorted(folder.glob("*.tar"))
        with contextlib.ExitStack() as stack:
            for archive in list(archives):
                if archive.name.startswith("agora"):
                    again = archive.with_suffix(".next")
                    stack.callback(again.unlink, missing_ok=True)
                    retagged(archive, again, self.options.tag, next_tag(self.options))
                    archives.append(again)
            self.say(f"giving the cluster {len(archives)} images")
            self.run([*self.options.load.split(), *archives])


def next_tag(options):
    return f"{options.tag}-next"


def retagged(archive, to, tag, new):
    """The same image under another tag: what names it stands in the archive's index."""
    with tarfile.open(archive) as source, tarfile.open(to, "w") as target:
        for member in source:
            content = source.extractfile(member)
            if member.name in ("index.json", "manifest.json"):
                text = content.read().decode().replace(f':{tag}"', f':{new}"').encode()
                member.size, content = len(text), io.BytesIO(text)
            target.addfile(member, content)


def last_line(text):
    lines = [line for line in (text or "").splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else ""


class Scenario:
    """The steps, in their order, and what they share."""

    def __init__(self, cluster, options, say):
        self.cluster, self.options, self.say = cluster, options, say
        # When PostgreSQL was away, in milliseconds since 1970.
        self.database_away = []
        self.happened = []

    def run(self):
        wanted = self.options.only.split(",") if self.options.only else [name for name, _ in STEPS]
        seen, broken = [], False
        try:
            self.cluster.run(self.cluster.command("kubectl", "create", "namespace", self.cluster.namespace), check=False)
            labels = ["pod-security.kubernetes.io/enforce=restricted", "--overwrite"]
            self.cluster.kubectl("label", "namespace", self.cluster.namespace, *labels)
            for name, step in STEPS:
                if name not in wanted:
                    continue
                began = time.monotonic()
                if broken:
                    seen.append((name, "not tried", 0, "the installation does not stand"))
                    continue
                self.say(name)
                try:
                    result, text = "ok", step(self) or ""
                except Skipped as why:
                    result, text = "SKIPPED", str(why)
                except Failed as why:
                    result, text = "FAILED", str(why)
                    broken = name == "install"
                seen.append((name, result, time.monotonic() - began, text))
                self.say(f"{name}: {result}: {text}")
                if result == "FAILED":
                    self.tell_state()
        finally:
            if not self.options.keep:
                self.say("removing the namespace")
                self.cluster.helm("uninstall", RELEASE, "--wait", check=False)
                command = self.cluster.command("kubectl", "delete", "namespace", self.cluster.namespace, "--timeout=120s")
                self.cluster.run(command, check=False)
        width = max(len(name) for name, *_ in seen)
        print(f"\n{'step':{width}}  {'result':9}  {'took':>6}  what was seen")
        for name, result, took, text in seen:
            first, *more = text.splitlines() or [""]
            print(f"{name:{width}}  {result:9}  {took:4.0f} s  {first}")
            for line in more:
                print(f"{'':{width}}  {'':9}  {'':6}  {line}")
        return int(any(result == "FAILED" for _, result, *_ in seen))

    def tell_state(self):
        print(self.cluster.kubectl("get", "pods", "--output=wide", check=False))
        print(self.cluster.kubectl("get", "events", "--sort-by=.lastTimestamp", "--field-selector=type=Warning", check=False)[-3000:])

    # What is installed.

    def values(self, tag, *more):
        options = self.options
        values = {
            "image.registry": options.registry,
            "image.tag": tag,
            "image.pullPolicy": options.pull_policy,
            **{f"{service}.replicas": REPLICAS for service in SERVICES},
        }
        if not options.official:
            values["nats.bundled.image"] = f"{options.registry}/nats:{options.tag}"
            values["postgres.bundled.image"] = f"{options.registry}/postgres:{options.tag}"
        chosen = [f"--set={name}={value}" for name, value in values.items()]
        return [f"--values={options.chart / 'values-trial.yaml'}", *chosen, *more]

    def upgrade(self, tag, *more, wait=("--wait", f"--timeout={PATIENCE}s")):
        # Helm 4 leaves alone what others have set, such as the replicas that `kubectl scale` and an autoscaler did.
        version = self.cluster.run([*self.cluster.prefix, "helm", "version", "--template", "{{.Version}}"]).stdout
        forced = [] if version.startswith("v3") else ["--force-conflicts"]
        self.cluster.helm("upgrade", "--install", RELEASE, self.options.chart, *self.values(tag, *more), *forced, *wait)

    def install(self):
        began = time.monotonic()
        self.upgrade(self.options.tag)
        took = time.monotonic() - began
        counts = ", ".join(f"{len(self.cluster.pods(name))} {name}" for name in (*SERVICES, "nats", "postgres"))
        return f"ready after {took:.0f} s: {counts}"

    def test(self):
        said = self.cluster.helm("test", RELEASE, "--logs", f"--timeout={PATIENCE}s")
        return last_line(said)

    # Programs of our own, in pods.

    def pod(self, name, image, args, data=False):
        """A pod that calls the services as an operator: the key, and where everything is."""
        environment = {f"AGORA_{service.upper()}_SERVER": f"http://{RELEASE}-{service}:{port}" for service, port in PORTS.items()}
        environment["AGORA_KEY"] = "/etc/agora/key/private.pem"
        environment["AGORA_QUERY_REPLICAS"] = f"http://{RELEASE}-query-headless:{PORTS['query']}"
        environment["AGORA_TEST_DATA"] = "/data"
        environment["AGORA_NATS_URL"] = f"nats://{RELEASE}-nats:4222"

        def secret(variable, key):
            return {"name": variable, "valueFrom": {"secretKeyRef": {"name": f"{RELEASE}-nats", "key": key}}}

        variables = [secret("AGORA_NATS_USER", "user"), secret("AGORA_NATS_PASSWORD", "password")]
        variables += [{"name": key, "value": value} for key, value in environment.items()]
        mounts = [{"name": "key", "mountPath": "/etc/agora/key", "readOnly": True}]
        volumes = [{"name": "key", "secret": {"secretName": f"{RELEASE}-signing", "defaultMode": 0o440}}]
        mounts.append({"name": "tmp", "mountPath": "/tmp"})
        volumes.append({"name": "tmp", "emptyDir": {}})
        if data:
            mounts.append({"name": "comments", "mountPath": "/data/youtube-comments", "readOnly": True})
            volumes.append({"name": "comments", "configMap": {"name": "comments"}})
        user = {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
        allowed = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        # The chart's network policies let such pods call.
        labels = {"agora-client": "true", "app.kubernetes.io/name": "agora", "app.kubernetes.io/instance": RELEASE, "app.kubernetes.io/component": "test"}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "terminationGracePeriodSeconds": 5,
                "securityContext": user,
                "volumes": volumes,
                "containers": [
                    {
                        "name": name,
                        "image": f"{self.options.registry}/{image}:{self.options.tag}",
                        "imagePullPolicy": self.options.pull_policy,
                        "args": args,
                        "env": variables,
                        "volumeMounts": mounts,
                        "securityContext": allowed,
                        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
                    }
                ],
            },
        }

    def finished(self, name, patience=PATIENCE):
        """Waits for a pod's end; returns whether it was good, and what it printed."""

        def phase():
            found = self.cluster.get("pod", name)["status"].get("phase")
            return found if found in ("Succeeded", "Failed") else None

        ended = self.cluster.until(f"the end of {name}", phase, patience)
        return ended == "Succeeded", self.cluster.kubectl("logs", name)

    def do(self, name, image, args, data=False):
        """Runs a program to its end; returns what it printed."""
        self.cluster.kubectl("delete", "pod", name, "--ignore-not-found")
        self.cluster.apply(self.pod(name, image, args, data))
        good, said = self.finished(name)
        if not good:
            raise Failed(f"{name}: {last_line(said)}")
        return said

    def data(self):
        folder = Path(os.environ.get("AGORA_TEST_DATA") or ROOT / "examples") / "youtube-comments"
        files = sorted(folder.glob("*.csv"))
        if not files:
            raise Skipped(f"there are no files in {folder}: AGORA_TEST_DATA names another folder")
        return files

    def imports(self):
        files = self.data()
        self.cluster.kubectl("delete", "configmap", "comments", "--ignore-not-found")
        self.cluster.kubectl("create", "configmap", "comments", *(f"--from-file={file}" for file in files))
        paths = [f"/data/youtube-comments/{file.name}" for file in files]
        said = self.do("import", "agora", ["import", "youtube-csv", "--site", "youtube", *paths], data=True)
        # After it stands what is held, and what to try next.
        return [line for line in said.splitlines() if "imported" in line][-1].strip()

    def verify(self):
        said = self.do("verify", "agora", ["verify"]).splitlines()
        events = [int(line.split()[3]) for line in said if line.startswith("I2")]
        return f"{last_line(chr(10).join(said))}: {sum(events)} events"

    # What happens under load.

    def happens(self, what, patience=0):
        """Notes when something begins; the load goes on for a while first."""
        time.sleep(patience or REST)
        self.happened.append((now(), what))
        self.say(f"  {what}")

    def under_load(self):
        self.data()
        self.cluster.kubectl("delete", "pod", "load", "--ignore-not-found")
        self.cluster.apply(self.pod("load", "agora-load", [f"--writes={WRITES}", f"--reads={READS}"], data=True))
        self.cluster.until("the load begins", lambda: " writes, " in self.cluster.kubectl("logs", "load", check=False))
        self.happened, self.database_away = [], []
        seen, wrong = [], []
        for what in (self.delete_each, self.delete_nats, self.scale, self.roll, self.delete_database):
            try:
                seen.append(what())
            except Failed as why:
                wrong.append(str(why))
        self.happens("the end")
        self.cluster.kubectl("exec", "load", "--", "/load", "--stop")
        _, said = self.finished("load")
        report = next((json.loads(line) for line in reversed(said.splitlines()) if line.startswith("{")), None)
        if report is None:
            raise Failed(f"the load reports nothing: {last_line(said)}")
        (ROOT / "target").mkdir(exist_ok=True)
        (ROOT / "target" / "cluster-load.json").write_text(json.dumps({"happened": self.happened, "away": self.database_away, **report}, indent=1))
        lines, found = self.judge(report)
        text = "\n".join([*lines, *seen])
        if wrong or found:
            raise Failed("\n".join([*wrong, *found, text]))
        return text

    def delete_each(self):
        """Deletes each pod of the services; the next one once the one before was replaced."""
        number = 0
        for service in SERVICES:
            for pod in self.cluster.pods(service):
                name = pod["metadata"]["name"]
                self.happens(f"{name} is deleted")
                self.cluster.kubectl("delete", "pod", name)
                self.cluster.rollout(service)
                number += 1
        return f"{number} pods of services deleted, one after the other"

    def delete_nats(self):
        pods = self.cluster.pods("nats")
        for pod in pods[:2]:
            name = pod["metadata"]["name"]
            self.happens(f"{name} is deleted")
            self.cluster.kubectl("delete", "pod", name)
            self.cluster.rollout("nats")
        return f"2 of {len(pods)} NATS pods deleted, one after the other"

    def scale(self):
        """Query to 1, 3, 1 and back; the new replica begins with a peer's snapshot."""
        name = f"{RELEASE}-query"
        for replicas in (1, 3, 1, REPLICAS):
            self.happens(f"query is scaled to {replicas}")
            if replicas == 3:
                # An earlier run may have left a view.
                self.cluster.kubectl("delete", "pvc", f"data-{name}-2", "--ignore-not-found")
            self.cluster.kubectl("scale", f"statefulset/{name}", f"--replicas={replicas}")
            self.cluster.until(f"{replicas} query pods", lambda replicas=replicas: len(self.cluster.pods("query")) == replicas)
            self.cluster.rollout("query")
            if replicas == 3:
                origin = self.origin(f"{name}-2")
                if origin != "snapshot":
                    raise Failed(f"the view of {name}-2 comes from {origin}, not from a peer's snapshot")
        return f"query scaled 2, 1, 3, 1, 2; the view of {name}-2 came from a peer's {origin}"

    def origin(self, pod):
        """Where the view of a query pod comes from, as it says when it starts."""
        for line in self.cluster.kubectl("logs", pod).splitlines():
            with contextlib.suppress(ValueError):
                if "origin" in (said := json.loads(line)):
                    return said["origin"]
        return "nowhere that it tells"

    def roll(self):
        began = time.monotonic()
        self.happens("helm upgrade to another tag")
        self.upgrade(next_tag(self.options))
        images = {pod["spec"]["containers"][0]["image"] for service in SERVICES for pod in self.cluster.pods(service)}
        old = [image for image in images if not image.endswith(f":{next_tag(self.options)}")]
        if old:
            raise Failed(f"after the upgrade there still is {', '.join(old)}")
        return f"upgraded to another tag in {time.monotonic() - began:.0f} s"

    def delete_database(self):
        name = f"{RELEASE}-postgres-0"
        self.happens(f"{name} is deleted")
        began = now()
        self.cluster.kubectl("delete", "pod", name)
        self.cluster.rollout("postgres")
        self.database_away.append((began, now() + 1000 * DATABASE_GRACE))
        # What was away is back for callers, too.
        time.sleep(DATABASE_GRACE)
        return f"PostgreSQL's pod deleted; ready again after {(now() - began) / 1000 - DATABASE_GRACE:.0f} s"

    def judge(self, report):
        """What the load has seen, in words, and what of it must not be."""

        def away(at):
            return any(begin <= at <= end for begin, end in self.database_away)

        def count(found):
            return sum(failure["calls"] for failure in found)

        failures, late = report["failures"], report["late"]
        reads = [failure for failure in failures if failure["method"] == "GetThread"]
        writes = [failure for failure in failures if failure["writes"]]
        outside = [failure for failure in writes if not away(failure["at_ms"])]
        seconds = (report["to_ms"] - report["from_ms"]) / 1000
        lines = [
            f"{report['acknowledged']} writes acknowledged in {seconds:.0f} s ({report['acknowledged'] / seconds:.0f}/s), "
            f"lost {report['lost']}, doubled {report['doubled']}; {report['events']} events in the journals",
            f"{report['reads']} threads read, {report['from_owners']} of them from the owners; "
            f"{count(reads)} calls failed and were made again, the slowest read took {report['slowest_read']:.1f} s",
            f"{count(writes)} calls to write failed and were made again, {count(outside)} of them while PostgreSQL was there",
            f"equal everywhere {report['settled'] or -1:.1f} s after the end",
        ]
        wrong = []
        if report["lost"] or report["doubled"]:
            wrong.append(f"lost {report['lost']}, doubled {report['doubled']}")
        wrong += report["findings"][:10]
        late_reads = [one for one in late if one["method"] == "GetThread"]
        if late_reads:
            wrong.append(f"{len(late_reads)} reads were not answered within 5 s: {self.when(late_reads[0])}")
        late_writes = [one for one in late if one["writes"] and not any(begin - 1000 <= one["at_ms"] <= end for begin, end in self.database_away)]
        if late_writes:
            wrong.append(f"{len(late_writes)} writes were not answered within 5 s while PostgreSQL was there: {self.when(late_writes[0])}")
        refused = [failure for failure in outside if failure["answered"]]
        if refused:
            wrong.append(f"{count(refused)} writes were refused while PostgreSQL was there: {self.when(refused[0])}")
        refused = [failure for failure in reads if failure["answered"]]
        if refused:
            wrong.append(f"{count(refused)} reads were refused: {self.when(refused[0])}")
        return lines, wrong

    def when(self, found):
        """Something that the load has noticed, and what had happened then."""
        before = [(at, what) for at, what in self.happened if at <= found["at_ms"]]
        at, what = before[-1] if before else (found["at_ms"], "anything")
        said = f": {found['code']} {found['message']}" if "code" in found else f", {found['took']:.1f} s"
        return f"{found['method']}, {(found['at_ms'] - at) / 1000:.1f} s after {what}{said}"

    # What the cluster does by itself.

    def autoscale(self):
        autoscaling = "query.autoscaling"
        self.upgrade(next_tag(self.options), f"--set={autoscaling}.enabled=true,{autoscaling}.minReplicas={REPLICAS},{autoscaling}.maxReplicas=3")
        self.cluster.kubectl("delete", "pod", "many-reads", "--ignore-not-found")
        self.cluster.apply(self.pod("many-reads", "agora-load", ["--writes=1", f"--reads={MANY_READS}"], data=True))
        began = time.monotonic()
        scaler = f"hpa/{RELEASE}-query"
        seen = {}

        def scaled():
            found = self.cluster.get(scaler)
            for metric in found["status"].get("currentMetrics") or []:
                # By the pod or by the container.
                used = metric.get(metric["type"][0].lower() + metric["type"][1:], {}).get("current", {}).get("averageUtilization")
                seen["used"] = max(used or 0, seen.get("used", 0))
            return "used" in seen and found["status"].get("desiredReplicas", 0) > REPLICAS

        try:
            self.cluster.until("the autoscaler asks for another query pod", scaled)
            took = time.monotonic() - began
            self.cluster.until("it is there", lambda: len(self.cluster.pods("query")) > REPLICAS)
            self.cluster.rollout("query")
            pods = len(self.cluster.pods("query"))
        finally:
            self.cluster.kubectl("delete", "pod", "many-reads", "--grace-period=0", "--force", check=False)
            self.upgrade(next_tag(self.options))
        return f"query scaled from {REPLICAS} to {pods} after {took:.0f} s at {seen['used']} % of the CPU requested"

    def drain(self):
        """A node that has query pods is drained of them: one goes, and the last one stays."""
        pods = self.cluster.pods("query")
        node = pods[0]["spec"]["nodeName"]
        if any(pod["spec"]["nodeName"] != node for pod in pods):
            raise Skipped("the query pods are on several nodes: none would be the last one")
        mark = f"drained={now()}"
        for pod in pods:
            self.cluster.kubectl("label", "pod", pod["metadata"]["name"], mark, "--overwrite")
        command = ["drain", node, f"--pod-selector={mark}", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=30s"]
        try:
            drained = self.cluster.run(self.cluster.command("kubectl", *command), check=False)
            said = drained.stdout + drained.stderr
            ready = [pod for pod in self.cluster.pods("query") if is_ready(pod)]
        finally:
            self.cluster.run(self.cluster.command("kubectl", "uncordon", node))
        if drained.returncode == 0 or "disruption budget" not in said:
            raise Failed(f"the drain was not held back: {last_line(said)}")
        self.cluster.rollout("query")
        if len(ready) != len(pods) - 1:
            raise Failed(f"{len(ready)} of {len(pods)} query pods were ready during the drain")
        return f"held back with {len(ready)} of {len(pods)} query pods ready: Cannot evict pod as it would violate the pod's disruption budget"

    def wrong_secret(self):
        """With a wrong password to PostgreSQL the new pods never become ready, say why, and the old ones go on."""
        self.cluster.kubectl("delete", "secret", "wrong", "--ignore-not-found")
        right = self.cluster.get("secret", f"{RELEASE}-post")["data"]["url"]
        wrong = with_password(right, "wrong")
        self.cluster.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "wrong"}, "stringData": {"url": wrong}})
        before = {pod["metadata"]["name"] for pod in self.cluster.pods("post")}
        self.upgrade(next_tag(self.options), "--set=post.postgres.urlSecret.name=wrong", wait=())

        def told():
            for pod in self.cluster.pods("post"):
                if pod["metadata"]["name"] in before:
                    continue
                if is_ready(pod):
                    raise Failed(f"{pod['metadata']['name']} is ready with a wrong secret")
                for status in pod["status"].get("containerStatuses", []):
                    for state in (status["state"], status["lastState"]):
                        said = state.get("terminated", {}).get("message")
                        if said:
                            return said
            return None

        try:
            said = self.cluster.until("a pod with a wrong secret says why", told, 120)
            # It must not become ready later either.
            time.sleep(REST)
            told()
            old = [pod for pod in self.cluster.pods("post") if pod["metadata"]["name"] in before and is_ready(pod)]
        finally:
            self.upgrade(next_tag(self.options))
        if len(old) != REPLICAS:
            raise Failed(f"{len(old)} of {REPLICAS} old pods were still ready")
        text = last_line(said)
        if "password" not in text:
            raise Failed(f"it does not say what is wrong: {text}")
        return f"never ready, and {len(old)} old pods go on; it says: {text}"

    def templates(self):
        """Every size and switch of the chart, as the API server takes it."""
        other = f"{self.cluster.namespace}-templates"
        with self.definitions() as known:
            run, command = self.cluster.run, self.cluster.command
            run(command("kubectl", "create", "namespace", other), check=False)
            rendered, wrong = 0, []
            try:
                for values in combinations(self.options.chart):
                    chosen = [f"--values={self.options.chart / name}" for name in values]
                    try:
                        made = run(command("helm", "template", RELEASE, self.options.chart, *chosen, "--namespace", other)).stdout
                        apply = ["apply", "--dry-run=server", "--validate=strict", "--namespace", other, "--filename=-"]
                        run(command("kubectl", *apply), input=made)
                    except Failed as why:
                        wrong.append(f"{' and '.join(values)}: {why}")
                    rendered += 1
            finally:
                run(command("kubectl", "delete", "namespace", other), check=False)
        if wrong:
            raise Failed("\n".join(wrong))
        return f"{rendered} combinations of values accepted by the API server; {known}"

    def skaffold(self):
        """Skaffold builds the images, installs the chart, verifies and removes it, in a namespace of its own."""
        if not self.cluster.prefix and shutil.which("skaffold") is None:
            raise Skipped("there is no skaffold on the PATH")
        if not self.options.default_repo:
            raise Skipped("--default-repo names no registry")
        other = f"{self.cluster.namespace}-skaffold"
        home = Path.home()
        environment = {
            # What the images of the other steps were built with, so that only what differs is built.
            "AGORA_PROFILE": self.options.profile,
            "CARGO_HOME": os.environ.get("CARGO_HOME", str(home / ".cargo")),
            "RUSTUP_HOME": os.environ.get("RUSTUP_HOME", str(home / ".rustup")),
            "SKAFFOLD_UPDATE_CHECK": "false",
        }
        if not self.options.official:
            for name in ("nats", "postgres"):
                environment[f"AGORA_{name.upper()}_IMAGE"] = f"{self.options.registry}/{name}:{self.options.tag}"
        variables = [f"{name}={value}" for name, value in environment.items()]
        context = ["--kube-context", self.options.context] if self.options.context else []
        common = ["--profile=buildah", "--interactive=false"]
        built = ROOT / "target" / "skaffold-images.json"
        places = [f"--namespace={other}", f"--default-repo={self.options.default_repo}", *context]
        run, command = self.cluster.run, self.cluster.command
        took = []

        def skaffold(what, *more):
            began = time.monotonic()
            run([*self.cluster.prefix, "env", *variables, "skaffold", what, *common, *more], cwd=ROOT)
            took.append(f"{what} {time.monotonic() - began:.0f} s")

        run(command("kubectl", "create", "namespace", other), check=False)
        try:
            skaffold("diagnose")
            skaffold("build", f"--file-output={built}", f"--default-repo={self.options.default_repo}")
            try:
                skaffold("run", *places)
                skaffold("verify", f"--build-artifacts={built}", *places)
            finally:
                skaffold("delete", f"--namespace={other}", *context)
        finally:
            run(command("kubectl", "delete", "namespace", other, "--timeout=120s"), check=False)
        return ", ".join(took)

    @contextlib.contextmanager
    def definitions(self):
        """Has the custom resources known that the chart can make, as long as this lasts."""
        go = shutil.which("go")
        if go is None:
            raise Skipped("there is no Go on the PATH, whose modules hold the definitions of custom resources")
        made, names = [], []
        try:
            for module, version, pattern in DEFINITIONS:
                found = self.cluster.run([go, "mod", "download", "-json", f"{module}@{version}"], cwd="/")
                for file in sorted(Path(json.loads(found.stdout)["Dir"]).glob(pattern)):
                    create = self.cluster.command("kubectl", "create", "--filename=-")
                    created = self.cluster.run(create, check=False, input=file.read_text("utf-8"))
                    if created.returncode == 0:
                        made.append(file)
                    elif "AlreadyExists" not in created.stderr:
                        raise Failed(f"{file.name}: {last_line(created.stderr)}")
                names.append(f"{module.split('/')[-1] if not module.endswith('/v2') else 'keda'} {version}")
            time.sleep(REST)
            yield "custom resources of " + ", ".join(names)
        finally:
            for file in made:
                delete = self.cluster.command("kubectl", "delete", "--ignore-not-found", "--wait=false", "--filename=-")
                self.cluster.run(delete, check=False, input=file.read_text("utf-8"))


def combinations(chart):
    """The values files that belong together: each size, and each switch over its size."""
    yield from ([size] for size in SIZES)
    for file in sorted((chart / "ci").glob("*.yaml")):
        size = "values-trial.yaml" if file.name.startswith("trial") else "values-small.yaml"
        yield [size, f"ci/{file.name}"]


def with_password(encoded, password):
    """A base64 URL, with another password."""
    import base64
    import re

    url = base64.b64decode(encoded).decode()
    return re.sub(r"(://[^:/@]+:)[^@]*@", rf"\g<1>{password}@", url)


def is_ready(pod):
    if pod["metadata"].get("deletionTimestamp"):
        return False
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in pod["status"].get("conditions", []))


def now():
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


STEPS = (
    ("install", Scenario.install),
    ("helm test", Scenario.test),
    ("import", Scenario.imports),
    ("verify", Scenario.verify),
    ("under load", Scenario.under_load),
    ("verify after it", Scenario.verify),
    ("autoscaler", Scenario.autoscale),
    ("drain", Scenario.drain),
    ("wrong secret", Scenario.wrong_secret),
    ("templates", Scenario.templates),
    ("skaffold", Scenario.skaffold),
)
