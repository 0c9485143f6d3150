"""Lints and renders a chart with Helm for each set of values on standard input, and judges what comes out by Kubernetes' schemas."""

import functools
import json
import sys

import helm_python.chart as helm
import kubernetes_validate
import yaml

VERSIONS = ["1.30", "1.34"]
# Kinds of others, whose schemas are theirs.
FOREIGN = ("monitoring.coreos.com/", "cert-manager.io/", "external-secrets.io/", "gateway.networking.k8s.io/")


def of(path, chart, values):
    answer = {"error": None, "lint": [], "documents": [], "invalid": [], "notes": ""}
    report = helm.lint(path, values, strict=True)
    answer["lint"] = [message["error"] for message in report["messages"] if message["severity"] >= 2]
    try:
        chart.validate_schema(values)
        rendered = chart.render(values, name="keys", namespace="shop")
    except Exception as error:
        answer["error"] = str(error)
        return answer
    for name, text in sorted(rendered.items()):
        if name.endswith("NOTES.txt"):
            answer["notes"] = text
        elif name.endswith(".yaml"):
            answer["documents"] += [document for document in yaml.safe_load_all(text) if document]
    for document in answer["documents"]:
        if not document["apiVersion"].startswith(FOREIGN):
            answer["invalid"] += judged(json.dumps(document))
    return answer


@functools.cache
def judged(text):
    document, invalid = json.loads(text), []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except Exception as error:
            invalid.append(f"{document['kind']} {version}: {error}")
    return invalid


if __name__ == "__main__":
    path = sys.argv[1]
    with helm.Chart.load(path) as chart, open(f"{path}/values-dev.yaml", encoding="utf-8") as dev:
        dev = yaml.safe_load(dev)
        cases = json.load(sys.stdin)
        json.dump([of(path, chart, dev if values == "dev" else values) for values in cases], sys.stdout)
