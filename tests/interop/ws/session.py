"""A client of the WebSocket protocol, written from its description alone."""

import base64
import hashlib
import json
import os
import time
import urllib.request
import uuid

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

BASE = os.environ["CLAVIGER_URL"]
TOKEN = os.environ["CLAVIGER_TOKEN"]
HOST = BASE.split("://", 1)[1]
ALL = ["operator.read", "operator.write", "operator.admin", "operator.pairing"]


def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Device:
    def __init__(self, seed=None):
        self.key = Ed25519PrivateKey.from_private_bytes(seed) if seed else Ed25519PrivateKey.generate()
        self.public = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id = hashlib.sha256(self.public).hexdigest()

    def claim(self, params, nonce, form="v3", signed_at=None):
        signed_at = int(time.time() * 1000) if signed_at is None else signed_at
        auth = params.get("auth") or {}
        client = params["client"]
        fields = [form, self.id, client["id"], client["mode"], params.get("role", "operator")]
        fields += [",".join(params.get("scopes", [])), str(signed_at)]
        fields += [auth.get("token") or auth.get("deviceToken") or ""]
        if form != "v1":
            fields.append(nonce or "")
        if form == "v3":
            fields += [client["platform"].strip().lower(), (client.get("deviceFamily") or "").strip().lower()]
        claim = {"id": self.id, "publicKey": b64(self.public), "signedAt": signed_at}
        claim["signature"] = b64(self.key.sign("|".join(fields).encode()))
        if nonce is not None:
            claim["nonce"] = nonce
        return claim


class Session:
    """One connection. What comes is sorted: responses by id, events in order."""

    def __init__(self, path="/v1/ws", headers=None, origin=None, **options):
        url = BASE.replace("http", "ws", 1) + path
        options = {"max_size": 1 << 26, "proxy": None, "ping_interval": None, "open_timeout": 20} | options
        self.ws = connect(url, additional_headers=headers or {}, origin=origin, **options)
        self.events, self.responses, self.seqs, self.next = [], {}, [], 0
        challenge = self.event("connect.challenge")["payload"]
        self.nonce, self.ts = challenge["nonce"], challenge["ts"]

    def recv(self, timeout=20):
        frame = json.loads(self.ws.recv(timeout))
        if frame["type"] == "event":
            self.seqs.append(frame["seq"])
            self.events.append(frame)
        else:
            self.responses[frame["id"]] = frame
        return frame

    def event(self, name, timeout=20, where=lambda event: True):
        deadline = time.time() + timeout
        while True:
            for place, event in enumerate(self.events):
                if event["event"] == name and where(event):
                    return self.events.pop(place)
            self.recv(max(0.01, deadline - time.time()))

    def send(self, method, params=None, id=None, **members):
        self.next += 1
        id = id or f"r{self.next}"
        frame = {"type": "req", "id": id, "method": method} | members
        if params is not None:
            frame["params"] = params
        self.ws.send(json.dumps(frame))
        return id

    def response(self, id, timeout=20):
        while id not in self.responses:
            self.recv(timeout)
        return self.responses.pop(id)

    def ask(self, method, params=None, **members):
        return self.response(self.send(method, params, **members))

    def call(self, method, params=None):
        answer = self.ask(method, params)
        assert answer["ok"] is True and "error" not in answer, answer
        return answer.get("payload")

    def fails(self, method, params=None, code=None):
        answer = self.ask(method, params)
        assert answer["ok"] is False and "payload" not in answer, answer
        if code:
            assert answer["error"]["code"] == code, answer
        assert answer["error"]["message"], answer
        return answer["error"]

    def hello(self, params):
        answer = self.ask("connect", params)
        assert answer["ok"] is True, answer
        assert answer["payload"]["type"] == "hello-ok", answer
        return answer["payload"]

    def closed(self, timeout=20):
        """Code and reason of the close, once everything before it was read."""
        try:
            while True:
                self.recv(timeout)
        except ConnectionClosed as closed:
            return closed.rcvd.code, closed.rcvd.reason

    def close(self):
        self.ws.close()


def params(**changes):
    base = {
        "minProtocol": 1,
        "maxProtocol": 1,
        "client": {"id": "py", "version": "1.0", "platform": "Linux", "mode": "cli"},
        "role": "operator",
        "scopes": ALL,
        "auth": {"token": TOKEN},
    }
    return {name: value for name, value in (base | changes).items() if value is not None}


def operator(scopes=None, **changes):
    session = Session()
    session.welcome = session.hello(params(scopes=ALL if scopes is None else scopes, **changes))
    return session


def turned(frame, code, reason, error=None, details=None, raw=False, before=None, **options):
    """A handshake that fails: response (unless there is no id), close code, reason."""
    session = Session(**options)
    if callable(frame):
        frame = frame(session)
    if before:
        before(session)
    session.ws.send(frame if raw else json.dumps(frame))
    got = session.closed()
    assert got == (code, reason[:120]), (got, reason)
    answers = list(session.responses.values())
    if error is None:
        assert not answers, answers
        return None
    assert len(answers) == 1 and answers[0]["ok"] is False, answers
    failure = answers[0]["error"]
    assert failure["code"] == error and failure["message"] == reason, failure
    if details is not None:
        assert failure["details"] == details, failure
    return failure


def request(params, **changes):
    return {"type": "req", "id": "c", "method": "connect", "params": params} | changes


def rest(method, path, body=None, token=TOKEN, headers=None):
    headers = dict(headers or {})
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    call = urllib.request.Request(BASE + path, data=data, method=method, headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(call, timeout=30) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None, answer.headers
    except urllib.error.HTTPError as error:
        text = error.read()
        return error.code, json.loads(text) if text else None, error.headers


def unique(name):
    return f"{name}-{uuid.uuid4().hex[:8]}"
