"""What would keep the run from the handlers, and what it would be wrong to ask of them."""

import os
import re

import schemathesis

OWN = os.environ["OWN_API_KEY"]
KEYS = os.environ["KEYS"].split()
POLICIES = ["shop"]
NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


@schemathesis.hook("before_call")
def reach_the_handler(context, case, kwargs):
    """A valid epoch or entity tag that is not the present one is always 412: one in sixteen of those is enough."""
    if case.meta is None or case.meta.phase.name.value.lower() != "fuzzing":
        return
    for name in ("X-Claviger-Min-Epoch", "If-Match"):
        given = (case.headers or {}).get(name)
        is_valid = given is not None and (name == "If-Match" or str(given).isdigit())
        if is_valid and sum(case.id.encode()) % 16:
            del case.headers[name]


@schemathesis.hook("before_call")
def name_what_is_there(context, case, kwargs):
    """A name out of nowhere is always 404: one in eight of those is enough. What is no name stays as it is."""
    parameters = case.path_parameters or {}
    name = str(parameters.get("name", ""))
    if NAME.fullmatch(name) and sum(case.id.encode()) % 8:
        there = KEYS if case.path.startswith("/v1/keys/") else POLICIES
        parameters["name"] = there[sum(case.id.encode()) % len(there)]
        if isinstance(parameters.get("version"), int) and parameters["version"] > 2:
            parameters["version"] = 1 + parameters["version"] % 2


@schemathesis.hook("before_call")
def keep_the_credential(context, case, kwargs):
    """Whoever rotates or deletes the credential of the run sees 401 from then on and nothing else."""
    if case.method != "GET" and case.path_parameters and case.path_parameters.get("id") == OWN:
        case.path_parameters["id"] = "0" * 32


@schemathesis.hook("filter_failure")
def unknown_headers_are_ignored(context, failure, case, response):
    """As HTTP wants it (RFC 9110 section 5.1). schemathesis knows, but not where another header is a number."""
    is_invented = "x-schemathesis-unknown-property" in (case.headers or {})
    return not (is_invented and type(failure).__name__ == "AcceptedNegativeData")


@schemathesis.hook("before_call")
def let_the_stream_end(context, case, kwargs):
    """Events have no end, unless they are asked to."""
    if case.path == "/v1/events" and str((case.query or {}).get("follow", "true")).lower() == "true":
        case.query = {**(case.query or {}), "follow": "false"}


@schemathesis.hook("before_call")
def leave_something_to_ask_about(context, case, kwargs):
    """An incident on keys or on everything ends what the other questions are about: one on others in sixteen is opened for good."""
    if case.path == "/v1/incidents" and isinstance(case.body, dict):
        if case.body.get("key") or case.body.get("all") or sum(case.id.encode()) % 16:
            case.body["dry_run"] = True
