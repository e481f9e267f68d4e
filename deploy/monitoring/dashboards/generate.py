#!/usr/bin/env python3
"""Makes the dashboards' JSON of source.py, in the chart, which Docker Compose reads too.

With --check it changes nothing, and ends with 1 where the files differ from the source.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

OUT = Path(__file__).resolve().parents[2] / "helm" / "agora" / "files" / "dashboards"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# Grafana's panels are on a grid of 24 columns.
WIDTH, HEIGHT, COLUMNS = 8, 8, 24
# Of Grafana 12. Newer ones take it, too.
SCHEMA = 41


class Dashboard:
    def __init__(self, name, title, description, *parts):
        self.name, self.title, self.description, self.parts = name, title, description, parts

    def json(self):
        panels, x, y = [], 0, 0
        for number, part in enumerate(self.parts, start=1):
            if isinstance(part, Row):
                y, x = y + (HEIGHT if x else 0), 0
                place = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
                y += 1
            else:
                if x + WIDTH > COLUMNS:
                    x, y = 0, y + HEIGHT
                place = {"x": x, "y": y, "w": WIDTH, "h": HEIGHT}
                x += WIDTH
            panels.append({"id": number, "gridPos": place, **part.json()})
        return {
            "uid": f"agora-{self.file()}",
            "title": f"Agora / {self.title}",
            "description": self.description,
            "tags": ["agora"],
            "schemaVersion": SCHEMA,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "fiscalYearStartMonth": 0,
            "timezone": "browser",
            "refresh": "30s",
            "time": {"from": "now-3h", "to": "now"},
            "annotations": {"list": []},
            "links": [
                {
                    "type": "dashboards",
                    "title": "Agora",
                    "tags": ["agora"],
                    "asDropdown": True,
                    "includeVars": True,
                    "keepTime": True,
                    "targetBlank": False,
                    "icon": "external link",
                    "tooltip": "",
                    "url": "",
                }
            ],
            "templating": {"list": [datasource(), namespace()]},
            "panels": panels,
        }

    def file(self):
        return self.title.lower().replace("'", "").replace(" ", "-")


@dataclass
class Row:
    title: str

    def json(self):
        return {"type": "row", "title": self.title, "collapsed": False, "panels": []}


class Panel:
    """Lines over time. Each query is a legend and an expression."""

    def __init__(self, title, description, unit, *queries):
        self.title, self.description, self.unit, self.queries = title, description, unit, queries

    def json(self):
        custom = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": False}
        return {
            "type": "timeseries",
            **common(self),
            "fieldConfig": {"defaults": {"unit": self.unit, "min": 0, "custom": custom}, "overrides": []},
            "options": {
                "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]},
                "tooltip": {"mode": "multi", "sort": "desc"},
            },
        }


class State:
    """Whether something holds, over time. `bad` is the value that somebody should see to."""

    def __init__(self, title, description, *queries, bad=0):
        self.title, self.description, self.queries, self.bad = title, description, queries, bad

    def json(self):
        texts = {0: "no", 1: "yes"}
        mapped = {
            str(value): {"text": text, "index": value, "color": "red" if value == self.bad else "green" if self.bad is not None else "blue"}
            for value, text in texts.items()
        }
        if self.bad is None:
            mapped["0"]["color"] = "transparent"
        return {
            "type": "state-timeline",
            **common(self),
            "fieldConfig": {
                "defaults": {"unit": "none", "mappings": [{"type": "value", "options": mapped}], "custom": {"fillOpacity": 70, "lineWidth": 0}},
                "overrides": [],
            },
            "options": {
                "showValue": "never",
                "mergeValues": True,
                "rowHeight": 0.8,
                "alignValue": "left",
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
                "tooltip": {"mode": "single", "sort": "none"},
            },
        }


def common(panel):
    targets = [
        {"refId": chr(ord("A") + number), "datasource": DATASOURCE, "editorMode": "code", "range": True, "expr": expr, "legendFormat": legend}
        for number, (legend, expr) in enumerate(panel.queries)
    ]
    return {"title": panel.title, "description": panel.description, "datasource": DATASOURCE, "targets": targets}


def datasource():
    return {"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus", "hide": 0, "refresh": 1, "regex": "", "options": []}


def namespace():
    query = "label_values(agora_build_info, namespace)"
    return {
        "type": "query",
        "name": "namespace",
        "label": "Namespace",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": "namespaces"},
        "includeAll": True,
        "allValue": ".*",
        "multi": False,
        "current": {"text": "All", "value": "$__all"},
        "hide": 0,
        "refresh": 2,
        "regex": "",
        "sort": 1,
        "options": [],
    }


def main():
    # Nothing but the dashboards is left behind.
    sys.dont_write_bytecode = True
    # source.py imports what it is made of from here, by this name.
    sys.modules["generate"] = sys.modules["__main__"]
    import source

    files = {f"{dashboard.file()}.json": json.dumps(dashboard.json(), indent=1, ensure_ascii=False) + "\n" for dashboard in source.DASHBOARDS}
    if sys.argv[1:] == ["--check"]:
        there = {path.name: path.read_text("utf-8") for path in OUT.glob("*.json")}
        differing = sorted(name for name in {*files, *there} if files.get(name) != there.get(name))
        if differing:
            sys.exit(f"dashboards differ from their source: {', '.join(differing)}; run deploy/monitoring/dashboards/generate.py")
        return
    if sys.argv[1:]:
        sys.exit(__doc__)
    OUT.mkdir(parents=True, exist_ok=True)
    for path in OUT.glob("*.json"):
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        (OUT / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
