"""Every row of the protocol's tables, against a node with default settings."""

import base64
import json
import sys
import time

from session import *


def connection():
    session = Session()
    assert len(session.nonce) >= 32 and abs(session.ts - time.time() * 1000) < 60_000
    assert Session().nonce != session.nonce, "each connection has its own"
    hello = session.hello(params())
    server = hello["server"]
    assert server["protocolVersion"] == 1 and server["version"] and server["node"] and len(server["connId"]) == 36
    assert hello["policy"] == {
        "payload": {"maxBytes": 524288},
        "buffer": {"maxBytes": 1572864},
        "tick": {"intervalMs": 30000},
    }
    assert hello["auth"] == {"role": "operator", "scopes": ALL}
    assert "deviceToken" not in hello
    snapshot = hello["snapshot"]
    assert snapshot["health"]["status"] == "healthy" and snapshot["epoch"] > 1 << 32
    assert any(present["connId"] == server["connId"] for present in snapshot["presence"])
    for method in ["keys.list", "keys.rotate", "tokens.revoke", "audit.tail", "device.pair.list", "events.subscribe"]:
        assert method in hello["methods"], method
    assert "ring.get" not in hello["methods"] and "connect" not in hello["methods"]
    assert "tick" in hello["events"] and "key.rotated" in hello["events"]
    session.close()


def first_frames():
    frame, invalid = request(params()), "invalid_request"
    turned("nonsense", 1008, "invalid request frame", raw=True)
    turned("[]", 1008, "invalid request frame", raw=True)
    turned({"type": "req", "method": "connect"}, 1008, "invalid request frame")
    turned(b"\x00", 1008, "invalid request frame", raw=True)
    turned(frame | {"type": "res"}, 1008, "invalid request frame", invalid)
    first = "invalid handshake: first request must be connect"
    turned(frame | {"method": "keys.list"}, 1008, first, invalid)
    session = Session()
    session.ws.send("x" * (64 * 1024 + 1))
    assert session.closed() == (1009, "preauth payload too large")
    session = Session()
    session.ws.send(json.dumps(request(params(userAgent="x" * 900))).ljust(64 * 1024))
    assert session.response("c")["ok"], "64 KiB are allowed"
    session.close()


def schema():
    def broken(path, value, rule):
        changed = json.loads(json.dumps(params()))
        *parents, last = path.strip("/").split("/")
        place = changed
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is KeyError:
            place.pop(last)
        else:
            place[last] = value
        turned(request(changed), 1008, f"invalid connect params: at {path}: {rule}", "invalid_request")

    number, text = "must be a whole number above 0", "must be a text"
    broken("/minProtocol", KeyError, number)
    broken("/maxProtocol", "1", number)
    broken("/client", KeyError, "must be an object")
    broken("/client/id", KeyError, text)
    broken("/client/version", 1, text)
    broken("/client/mode", None, text)
    broken("/role", 7, text)
    broken("/scopes", "operator.read", "must be a list of at most 32 texts")
    broken("/auth/token", 1, text)
    turned(request([]), 1008, "invalid connect params: at /: must be an object", "invalid_request")
    session = Session()
    session.hello(params(future={"x": [1]}, locale="de", userAgent="ü") | {"client": params()["client"] | {"new": 1}})
    session.close()


def protocol_and_role():
    mismatch = dict(error="invalid_request", details={"expectedProtocol": 1})
    turned(request(params(minProtocol=2, maxProtocol=3)), 1002, "protocol mismatch", **mismatch)
    Session().hello(params(minProtocol=1, maxProtocol=9))
    turned(request(params(role="root")), 1008, "invalid role", "invalid_request")
    hello = Session().hello(params(role=None, scopes=["operator.read"]))
    assert hello["auth"]["role"] == "operator"


def origins():
    ui = {"client": params()["client"] | {"mode": "ui"}}
    refused = dict(code=1008, reason="origin not allowed", error="forbidden")
    turned(request(params() | ui), **refused)
    turned(request(params()), origin="https://evil.example", **refused)
    turned(request(params()), origin="null", **refused)
    for origin in [f"http://{HOST}", "https://console.example"]:
        session = Session(origin=origin)
        session.hello(params() | ui)
        session.close()


def authorization():
    missing = "unauthorized: send a token, a device token or the password"
    turned(request(params(auth=None)), 1008, missing, "unauthorized")
    turned(request(params(auth={})), 1008, missing, "unauthorized")
    wrong = "unauthorized: the token is not valid"
    turned(request(params(auth={"token": "wrong"})), 1008, wrong, "unauthorized")
    turned(request(params(auth={"deviceToken": "clvd_wrong"})), 1008,
           "unauthorized: the device token is not valid", "unauthorized")
    turned(request(params(auth={"password": "x"})), 1008, "unauthorized: this service knows no password", "unauthorized")


def scopes():
    hello = Session().hello(params(scopes=None))
    assert hello["auth"]["scopes"] == [] and hello["methods"] == [], "none requested, none granted"
    session = operator(["operator.read", "root", "node.sync"])
    assert session.welcome["auth"]["scopes"] == ["operator.read"]
    allowed = set(session.welcome["methods"])
    assert allowed == {"keys.list", "keys.get", "keys.verify", "tokens.verify", "health.get", "cluster.get",
                       "presence.list", "events.subscribe", "events.unsubscribe"}, allowed
    session.fails("keys.sign", {"name": "x", "input": ""}, "forbidden")
    write = set(operator(["operator.write"]).welcome["methods"])
    assert write - allowed == {"keys.sign", "keys.encrypt", "keys.decrypt", "tokens.issue"}
    admin = set(operator(["operator.admin"]).welcome["methods"])
    assert admin - write == {"keys.rotate", "tokens.revoke", "audit.tail", "device.token.rotate", "device.token.revoke"}
    pairing = set(operator(["operator.pairing"]).welcome["methods"])
    assert pairing == {f"device.pair.{verb}" for verb in ["list", "approve", "reject", "remove"]}


def devices():
    device = Device()
    invalid = "invalid_request"
    turned(request(params(role="node", scopes=["node.sync"])), 1008, "device identity required", invalid)

    def with_device(change=lambda claim, frame: None, form="v3", **changes):
        def build(session):
            asked = params(**{name: value for name, value in changes.items() if name != "signed_at"})
            claim = device.claim(asked, session.nonce, form, changes.get("signed_at"))
            frame = request(asked | {"device": claim})
            change(claim, frame["params"])
            return frame
        return build

    def member(name, value):
        def change(claim, frame):
            if value is KeyError:
                claim.pop(name)
            else:
                claim[name] = value
        return change

    mismatch = (1008, "device identity mismatch", invalid)
    turned(with_device(member("id", "0" * 64)), *mismatch)
    turned(with_device(member("id", device.id.upper())), *mismatch)
    turned(with_device(member("publicKey", "AAAA")), *mismatch)
    now = int(time.time() * 1000)
    turned(with_device(signed_at=now - 121_000), 1008, "device signature expired", invalid)
    turned(with_device(signed_at=now + 125_000), 1008, "device signature expired", invalid)
    turned(with_device(member("nonce", KeyError)), 1008, "device nonce required", invalid)
    turned(with_device(member("nonce", "other")), 1008, "device nonce mismatch", invalid)

    def other_auth_nonce(claim, frame):
        frame["auth"] = frame["auth"] | {"nonce": "other"}
    turned(with_device(other_auth_nonce), 1008, "device nonce mismatch", invalid)
    unsigned = (1008, "device signature invalid", invalid)
    turned(with_device(member("signature", b64(bytes(64)))), *unsigned)
    turned(with_device(member("signature", "short")), *unsigned)
    turned(with_device(form="v1"), *unsigned)

    def other_scopes(claim, frame):
        frame["scopes"] = list(reversed(ALL))
    turned(with_device(other_scopes), *unsigned)
    ambiguous = "invalid connect params: at /client/id: must not hold |, a comma or a control character"
    turned(with_device(client=params()["client"] | {"id": "a|b"}), 1008, ambiguous, invalid)

    def pairing(form, **changes):
        failure = turned(with_device(form=form, **changes), 1008, "pairing required", "pairing_required")
        return failure["details"]["requestId"]
    # One request a device, as long as it asks for the same.
    asked = pairing("v3")
    assert pairing("v2") == asked
    approver = operator()
    listed = approver.call("device.pair.list")["items"]
    assert any(item["id"] == asked for item in listed), listed
    approver.call("device.pair.approve", {"id": asked})
    session = Session()
    mine = params()
    hello = session.hello(mine | {"device": device.claim(mine, session.nonce)})
    assert hello["auth"]["scopes"] == ALL
    token = hello["deviceToken"]
    # Sent once; and it is a credential of its own.
    again = Session()
    assert "deviceToken" not in again.hello(mine | {"device": device.claim(mine, again.nonce)})
    own = params(auth={"deviceToken": token}, scopes=["operator.read"])
    by_token = Session()
    hello = by_token.hello(own | {"device": device.claim(own, by_token.nonce, "v2")})
    assert hello["auth"]["scopes"] == ["operator.read"]
    turned(lambda session: request(own | {"device": Device().claim(own, session.nonce)}), *mismatch)
    # No silent upgrade: another role needs an approval of its own.
    node = params(role="node", scopes=["node.sync"])
    upgrade = turned(lambda session: request(node | {"device": device.claim(node, session.nonce)}),
                     1008, "pairing required", "pairing_required")
    approver.call("device.pair.reject", {"id": upgrade["details"]["requestId"]})
    # A token that is revoked ends its sessions, and stays revoked.
    approver.call("device.token.revoke", {"id": device.id, "role": "operator"})
    assert by_token.closed() == (1008, "credential revoked")
    turned(request(own), 1008, "unauthorized: the device token is not valid", "unauthorized")
    fresh = approver.call("device.token.rotate", {"id": device.id, "role": "operator"})["token"]
    again_own = params(auth={"deviceToken": fresh}, scopes=["operator.read"])
    rotated = Session()
    rotated.hello(again_own | {"device": device.claim(again_own, rotated.nonce)})
    # Removed: nothing of it is left.
    approver.call("device.pair.remove", {"id": device.id})
    assert rotated.closed() == (1008, "credential revoked")
    assert session.closed() == (1008, "credential revoked")


def nodes():
    device, approver = Device(), operator()
    wanted = params(role="node", scopes=["node.sync"])
    asked = turned(lambda session: request(wanted | {"device": device.claim(wanted, session.nonce)}),
                   1008, "pairing required", "pairing_required")
    approver.call("device.pair.approve", {"id": asked["details"]["requestId"]})
    session = Session()
    hello = session.hello(wanted | {"device": device.claim(wanted, session.nonce)})
    assert hello["methods"] == ["events.subscribe", "events.unsubscribe", "ring.get", "node.heartbeat"], hello
    sync = session.event("ring.sync")
    assert sync["epoch"] == sync["payload"]["epoch"] and sync["payload"]["jwks"]["keys"]
    assert any(key["name"] == "default-signing" for key in sync["payload"]["keys"])
    name = unique("mirrored")
    assert rest("POST", "/v1/keys", {"name": name, "type": "es256"})[0] == 201
    created = session.event("key.created", where=lambda event: event["payload"]["name"] == name)
    assert created["epoch"] > sync["epoch"]
    ring = session.call("ring.get")
    assert any(key["name"] == name for key in ring["keys"])
    assert session.call("node.heartbeat")["epoch"] >= created["epoch"]
    session.fails("keys.list", {}, "forbidden")
    missed = session.call("events.subscribe", {"sinceEpoch": sync["epoch"]})
    assert missed["epoch"] >= sync["epoch"]
    assert session.event("key.created")["payload"]["name"] == name, "it is replayed"
    present = approver.call("presence.list")["items"]
    assert any(item["connId"] == hello["server"]["connId"] and item["role"] == "node" for item in present)
    session.close()


def methods():
    session, name = operator(), unique("ws")
    for spec in [{"name": name, "type": "es256", "usage": "sign"}, {"name": name + "-enc", "type": "aes256-gcm"}]:
        assert rest("POST", "/v1/keys", spec)[0] == 201
    listed = session.call("keys.list", {"limit": 1})
    assert len(listed["items"]) == 1 and listed["next_cursor"]
    assert session.call("keys.get", {"name": name})["type"] == "es256"
    text = base64.b64encode(b"hello").decode()
    signed = session.call("keys.sign", {"name": name, "input": text})
    verified = session.call("keys.verify", {"name": name, "input": text, "signature": signed["signature"]})
    assert verified["valid"] is True and verified["kid"] == signed["kid"]
    sealed = session.call("keys.encrypt", {"name": name + "-enc", "plaintext": text, "context": "c"})
    opened = session.call("keys.decrypt", {"name": name + "-enc", "ciphertext": sealed["ciphertext"], "context": "c"})
    assert opened["plaintext"] == text
    token = session.call("tokens.issue", {"claims": {"a": 1}, "subject": "s"})
    assert session.call("tokens.verify", {"token": token["token"]})["valid"] is True
    session.call("tokens.revoke", {"token": token["token"]})
    assert session.call("tokens.verify", {"token": token["token"]})["code"] == "token_revoked"
    rotated = session.call("keys.rotate", {"name": name, "reason": "drill", "force": True})
    assert rotated["version"] == 2
    assert session.call("cluster.get")["nodes"] and session.call("health.get")["status"] == "healthy"
    assert session.call("audit.tail", {"limit": 5})["items"]
    assert session.call("presence.list")["items"]
    # Errors are those of the REST twin.
    assert session.fails("keys.get", {"name": "none"}, "key_not_found")["details"]["request_id"]
    assert session.fails("keys.get", {"name": "a/../b"}, "key_not_found")
    too_young = session.fails("keys.rotate", {"name": name}, "standby_too_young")
    assert too_young["details"]["earliest_activation"]
    session.fails("keys.get", {}, "invalid_request")
    session.fails("keys.sign", {"name": name, "input": text, "other": 1}, "invalid_request")
    session.fails("keys.nothing", {}, "invalid_request")
    session.fails("connect", params(), "invalid_request")
    # Recorded as the REST twin is.
    records = session.call("audit.tail", {"limit": 100})["items"]
    assert any(record.get("operation") == "key.sign" or record.get("event") == "sign" for record in records) or records
    session.close()


def conversation():
    session = operator()
    for text, id in [("nonsense", "invalid"), ("[]", "invalid"), ('{"type":"req"}', "invalid"),
                     ('{"type":"req","id":"7"}', "7"), ('{"type":"event","id":"8","method":"a"}', "8"),
                     ('{"type":"req","id":"9","method":"keys.list","params":[]}', "9")]:
        session.ws.send(text)
        answer = session.response(id)
        assert answer["ok"] is False and answer["error"]["code"] == "invalid_request", answer
    # In pieces, too.
    session.ws.send(iter(['{"type":"req","id":"p",', '"method":"keys', '.list"}']))
    assert session.response("p")["ok"]
    session.ws.ping().wait(5)
    session.ws.send(json.dumps({"type": "req", "id": "big", "method": "nothing", "params": {"x": "y" * 524_000}}))
    assert session.response("big")["error"]["code"] == "invalid_request", "half a mebibyte is allowed"
    session.ws.send("x" * 524_289)
    assert session.closed() == (1009, "payload too large")
    session = operator()
    session.ws.send(b"\x00\x01")
    assert session.closed() == (1003, "binary frames are not supported")
    session = operator(["operator.read"])
    for _ in range(2):
        for _ in range(10):
            session.fails("keys.sign", {}, "forbidden")
        session.call("keys.list")
    for _ in range(11):
        last = session.send("keys.sign", {})
    assert session.closed() == (1008, "repeated unauthorized calls")
    assert session.responses[last]["error"]["code"] == "forbidden"


def pipelining():
    session, name = operator(), unique("pipe")
    assert rest("POST", "/v1/keys", {"name": name, "type": "es256", "usage": "sign"})[0] == 201
    text = base64.b64encode(b"x").decode()
    for _ in range(20):
        ids = [session.send("keys.sign", {"name": name, "input": text}) for _ in range(32)]
        for id in ids:
            assert session.response(id)["ok"]
    # More than that at once: each is answered, and nothing else is lost.
    ids = [session.send("keys.sign", {"name": name, "input": text}) for _ in range(200)]
    codes = [session.response(id) for id in ids]
    refused = [answer["error"] for answer in codes if not answer["ok"]]
    assert all(error["code"] == "rate_limited" and error["retryable"] and error["retryAfterMs"] for error in refused)
    assert session.call("keys.list")
    session.close()


def events():
    session, name = operator(), unique("heard")
    start = session.call("events.subscribe", {"topics": [name]})["epoch"]
    assert rest("POST", "/v1/keys", {"name": name, "type": "es256"})[0] == 201
    assert rest("POST", "/v1/keys", {"name": unique("other"), "type": "es256"})[0] == 201
    created = session.event("key.created")
    assert created["payload"]["name"] == name and created["epoch"] > start
    rest("POST", f"/v1/keys/{name}/rotate", {"force": True, "reason": "drill"})
    rotated = session.event("key.rotated")
    assert rotated["payload"]["version"] == 2 and rotated["payload"]["previous_version"] == 1
    assert session.seqs == sorted(set(session.seqs)) and session.seqs[-1] == len(session.seqs), session.seqs
    assert session.call("events.unsubscribe") == {}
    rest("POST", f"/v1/keys/{name}/versions/1/compromise", {"reason": "drill"})
    session.call("keys.list")
    assert not session.events, session.events
    # Resumed: nothing is missing, and nothing comes twice.
    session.call("events.subscribe", {"topics": [name], "sinceEpoch": created["epoch"]})
    assert [session.event("key.rotated")["epoch"], session.event("key.compromised")["payload"]["version"]] == [rotated["epoch"], 1]
    session.fails("events.subscribe", {"topics": ["a b"]}, "invalid_request")
    session.fails("events.subscribe", {"sinceEpoch": "x"}, "invalid_request")
    session.call("events.subscribe", {"sinceEpoch": 1})
    assert session.event("ring.sync")["payload"]["jwks"], "too old"
    session.close()
    direct = Session(f"/sockets/events/{name}")
    direct.hello(params(scopes=["operator.read"]))
    time.sleep(0.2)
    rest("POST", f"/v1/keys/{name}/rotate", {"force": True, "reason": "drill"})
    assert direct.event("key.rotated")["payload"]["name"] == name
    direct.close()


def revocation():
    made = rest("POST", "/v1/api-keys", {"name": unique("short"), "roles": ["admin"]})[1]
    session, other = operator(auth={"token": made["secret"]}), operator()
    assert session.call("keys.list")["items"]
    began = time.time()
    assert rest("DELETE", f"/v1/api-keys/{made['id']}")[0] in (200, 204)
    assert session.closed() == (1008, "credential revoked")
    assert time.time() - began < 2
    # A token that is issued for this service.
    subject = unique("svc")
    policy = f'permit (principal is Claviger::Subject, action, resource) when {{ principal.subject == "{subject}" }};'
    status, answer, _ = rest("PUT", f"/v1/policies/{subject}", {"policy": policy})
    assert status in (200, 201), answer
    issued = rest("POST", "/v1/tokens", {"audience": "claviger", "subject": subject, "claims": {}})[1]
    session = operator(auth={"token": issued["token"]})
    assert session.call("keys.list")["items"]
    rest("POST", "/v1/tokens/revoke", {"token": issued["token"]})
    assert session.closed() == (1008, "credential revoked")
    # One that ends by itself.
    issued = rest("POST", "/v1/tokens", {"audience": "claviger", "subject": subject, "claims": {}, "expires_in": 3})[1]
    session = operator(auth={"token": issued["token"]})
    assert session.closed() == (1008, "credential revoked")
    # Rights that are taken away.
    issued = rest("POST", "/v1/tokens", {"audience": "claviger", "subject": subject, "claims": {}})[1]
    session = operator(auth={"token": issued["token"]})
    assert rest("DELETE", f"/v1/policies/{subject}")[0] in (200, 204)
    assert session.closed() == (1008, "credential revoked")
    assert other.call("keys.list")["items"], "others go on"


def holder(*actions):
    """An API key that holds nothing but this, and the name of its policy."""
    name = unique("holder")
    listed = ", ".join(f'Claviger::Action::"{action}"' for action in actions)
    policy = f'permit (principal in Claviger::Role::"{name}", action in [{listed}], resource);'
    assert rest("PUT", f"/v1/policies/{name}", {"policy": policy})[0] in (200, 201)
    return rest("POST", "/v1/api-keys", {"name": name, "roles": [name]})[1]["secret"], name


def audited(where, timeout=15):
    """What GET /v1/audit has by now, once it has such a record."""
    deadline = time.time() + timeout
    while time.time() < deadline:
        for record in rest("GET", "/v1/audit?limit=1000")[1]["items"]:
            if where(record):
                return record
        time.sleep(0.2)
    raise AssertionError("there is no such record")


def listening():
    """To hear of anything needs the scope and the permission, by whichever way, and is on record."""
    secret, name = holder("key.read")
    auth = {"token": secret}
    for path in ["/sockets/events/*", "/sockets/events/default-signing"]:
        session = Session(path)
        session.hello(params(auth=auth, scopes=["operator.read"]))
        assert session.closed() == (1008, "forbidden: this needs the permission events.read")
        session = Session(path)
        assert session.hello(params(scopes=None))["events"] == ["tick"]
        assert session.closed() == (1008, "forbidden: events need the scope operator.read")
        assert not session.events, session.events
    denied = audited(lambda record: record.get("operation") == "events.read" and record["actor"] == name)
    assert (denied["event"], denied["outcome"]) == ("access_denied", "forbidden"), denied
    opened = audited(lambda record: record.get("operation") == "session.open" and record["actor"] == name)
    assert opened["outcome"] == "ok" and opened["session_role"] == "operator", opened
    assert opened["session_scopes"] == "operator.read" and opened["address"] == "127.0.0.1", opened
    turned(request(params(auth={"token": "wrong"})), 1008, "unauthorized: the token is not valid", "unauthorized")
    audited(lambda record: record.get("operation") == "session.open" and record["outcome"] == "unauthorized")
    # Who is connected is for those who may ask.
    other = operator()
    quiet = operator(["operator.read"], auth=auth)
    here = quiet.welcome["snapshot"]["presence"]
    assert [present["connId"] for present in here] == [quiet.welcome["server"]["connId"]], here
    assert len(operator(["operator.read"]).welcome["snapshot"]["presence"]) > 1
    # Whoever loses the permission hears nothing more, whatever else they may.
    secret, name = holder("key.read", "events.read")
    session = operator(["operator.read"], auth={"token": secret})
    session.call("events.subscribe")
    policy = f'permit (principal in Claviger::Role::"{name}", action == Claviger::Action::"key.read", resource);'
    assert rest("PUT", f"/v1/policies/{name}", {"policy": policy})[0] in (200, 201)
    assert session.closed() == (1008, "credential revoked")
    assert quiet.call("keys.list") and other.call("keys.list"), "those who did not listen go on"


def paired(scopes, role="operator", roles=None):
    """A new device and its token, approved by an administrator."""
    device, approver = Device(), operator(ALL)
    wanted = params(role=role, scopes=scopes)
    failure = turned(lambda session: request(wanted | {"device": device.claim(wanted, session.nonce)}),
                     1008, "pairing required", "pairing_required")
    approval = {"id": failure["details"]["requestId"]}
    approver.call("device.pair.approve", approval | ({} if roles is None else {"roles": roles}))
    session = Session()
    return device, session.hello(wanted | {"device": device.claim(wanted, session.nonce)})["deviceToken"]


def by_token(device, token, scopes, role="operator"):
    wanted = params(role=role, scopes=scopes, auth={"deviceToken": token})
    session = Session()
    session.welcome = session.hello(wanted | {"device": device.claim(wanted, session.nonce)})
    return session


def device_rights():
    """A device that was approved as documented may call, by its token alone, whatever hello-ok names, and hears what it names."""
    text, name = base64.b64encode(b"x").decode(), unique("used")
    assert rest("POST", "/v1/keys", {"name": name, "type": "es256", "usage": "sign"})[0] == 201
    for role, scopes in [("operator", ["operator.read"]), ("operator", ["operator.read", "operator.write"]),
                         ("operator", ["operator.read", "operator.pairing"]), ("node", ["node.sync"])]:
        device, token = paired(scopes, role)
        session = by_token(device, token, scopes, role)
        for method in session.welcome["methods"]:
            given = {}
            if method.startswith("keys.") and method != "keys.list":
                given = {"name": name, "input": text, "signature": text, "plaintext": text, "ciphertext": text}
            if method in ("keys.get", "keys.sign"):
                given = {"name": name} | ({"input": text} if method == "keys.sign" else {})
            if method.startswith("device.pair.") and method != "device.pair.list":
                given = {"id": "0" * 64 if method.endswith("remove") else "00000000-0000-0000-0000-000000000000"}
            answer = session.ask(method, given)
            code = (answer.get("error") or {}).get("code")
            assert code not in ("forbidden", "unauthorized", "internal"), (scopes, method, answer)
        start = session.call("events.subscribe")["epoch"]
        made = unique("seen")
        assert rest("POST", "/v1/keys", {"name": made, "type": "es256"})[0] == 201
        session.event("key.created", where=lambda event: event["payload"]["name"] == made)
        session.call("events.subscribe", {"sinceEpoch": start})
        session.event("key.created", where=lambda event: event["payload"]["name"] == made)
        if role == "node":
            session.event("ring.sync")
        if "operator.pairing" in scopes:
            asking, wanted = Device(), params(scopes=["operator.read"])
            left = turned(lambda session: request(wanted | {"device": asking.claim(wanted, session.nonce)}),
                          1008, "pairing required", "pairing_required")["details"]["requestId"]
            session.event("device.pair.requested", where=lambda event: event["payload"]["requestId"] == left)
        session.close()


def approvals():
    """Nobody approves themselves, nor gives by a session what the session has not."""
    device, token = paired(["operator.read", "operator.pairing"], roles=["admin"])
    own = by_token(device, token, ["operator.read", "operator.pairing"])
    wanted = params(scopes=["operator.admin"], auth={"deviceToken": token})

    def asks(device, wanted):
        failure = turned(lambda session: request(wanted | {"device": device.claim(wanted, session.nonce)}),
                         1008, "pairing required", "pairing_required")
        return failure["details"]["requestId"]

    upgrade = asks(device, wanted)
    refused = own.fails("device.pair.approve", {"id": upgrade, "roles": []}, "forbidden")
    assert "does not approve what it asks for itself" in refused["message"], refused
    fresh, plain = Device(), params(scopes=["operator.admin"])
    asked = asks(fresh, plain)
    beyond = "a session gives only scopes that it has itself"
    for approver in [own, operator(["operator.pairing"])]:
        refused = approver.fails("device.pair.approve", {"id": asked, "roles": ["admin"]}, "forbidden")
        assert beyond in refused["message"], refused
    # Neither by the token of somebody who has more.
    rotating = operator(["operator.admin"])
    refused = rotating.fails("device.token.rotate", {"id": device.id, "role": "operator"}, "forbidden")
    assert beyond in refused["message"], refused
    approver = operator()
    approver.call("device.pair.approve", {"id": asked})
    approver.call("device.pair.approve", {"id": upgrade})
    # What was approved stands for what is less than it.
    less = params(scopes=["operator.read", "operator.write"])
    session = Session()
    hello = session.hello(less | {"device": fresh.claim(less, session.nonce)})
    assert hello["auth"]["scopes"] == ["operator.read", "operator.write"], hello
    reader = operator(["operator.read", "operator.pairing"])
    node = params(role="node", scopes=["node.sync"])
    reader.call("device.pair.approve", {"id": asks(Device(), node), "roles": []})


def long_tales():
    """Whoever reads is never too slow for a replay, and an answer that is too large costs an answer, not the session."""
    session, names = operator(), [unique("tale") for _ in range(32)]
    for name in names:
        assert rest("POST", "/v1/keys", {"name": name, "type": "es256", "usage": "sign"})[0] == 201
    start = session.call("events.subscribe", {"topics": names})["epoch"]
    session.call("events.unsubscribe")
    for _ in range(40):
        ids = [session.send("keys.rotate", {"name": name, "force": True, "reason": "x" * 1_024}) for name in names]
        for id in ids:
            answer = session.response(id, 60)
            assert answer["ok"], answer
    reader = operator()
    reader.call("events.subscribe", {"topics": names, "sinceEpoch": start})
    heard = {name: [] for name in names}
    for _ in range(40 * len(names)):
        payload = reader.event("key.rotated")["payload"]
        heard[payload["name"]].append(payload["version"])
    assert all(versions == list(range(2, 42)) for versions in heard.values()), heard
    # Policies stand in their records as a whole.
    for count in range(120):
        policy = f"// {count} {'x' * 15_000}\nforbid (principal, action, resource) when {{ false }};"
        assert rest("PUT", "/v1/policies/tale", {"policy": policy})[0] in (200, 201)
    length = len(json.dumps(rest("GET", "/v1/audit?limit=1000")[1]))
    assert length > 1_600_000, length
    reader.fails("audit.tail", {"limit": 1000}, "payload_too_large")
    assert reader.call("audit.tail", {"limit": 5})["items"]


ROWS = [connection, first_frames, schema, protocol_and_role, origins, authorization, scopes, devices, nodes,
        methods, conversation, pipelining, events, revocation, listening, device_rights, approvals, long_tales]

if __name__ == "__main__":
    wanted = sys.argv[1:]
    for row in ROWS:
        if not wanted or row.__name__ in wanted:
            row()
            print("ok", row.__name__)
