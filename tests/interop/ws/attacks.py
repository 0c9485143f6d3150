"""What is done to the door by those who do not mean well. One function a node, which the suite has set up for it."""

import base64
import os
import random
import socket
import sys
import threading
import time
import urllib.request

from session import *


def honest():
    session = operator()
    assert session.call("keys.list")["items"]
    session.close()


def replay():
    """A captured handshake is of no use on another connection, nor with other scopes, nor later."""
    device, approver = Device(), operator()
    asked = params(scopes=["operator.read"])
    session = Session()
    frame = request(asked | {"device": device.claim(asked, session.nonce)})
    session.ws.send(json.dumps(frame))
    pending = session.response("c")["error"]["details"]["requestId"]
    approver.call("device.pair.approve", {"id": pending})
    session = Session()
    frame = request(asked | {"device": device.claim(asked, session.nonce)})
    session.ws.send(json.dumps(frame))
    assert session.response("c")["ok"]
    turned(frame, 1008, "device nonce mismatch", "invalid_request")
    more = json.loads(json.dumps(frame))
    session = Session()
    more["params"]["device"] = device.claim(asked, session.nonce)
    more["params"]["scopes"] = ALL
    session.ws.send(json.dumps(more))
    assert session.closed() == (1008, "device signature invalid")
    session = Session()
    stale = device.claim(asked, session.nonce, signed_at=int(time.time() * 1000) - 130_000)
    session.ws.send(json.dumps(request(asked | {"device": stale})))
    assert session.closed() == (1008, "device signature expired")
    honest()


def locked_out():
    """Ten wrong ones, and then only right ones are of any use; each scope by itself; nothing that is forged changes that."""
    wrong = request(params(auth={"token": "wrong"}))
    for _ in range(10):
        turned(wrong, 1008, "unauthorized: the token is not valid", "unauthorized")
    many = (1008, "unauthorized: too many failed attempts", "rate_limited")
    failure = turned(wrong, *many)
    assert failure["retryable"] is True and 200_000 < failure["retryAfterMs"] <= 300_000, failure
    # A header that nobody trusted has written makes no other address, and names no user.
    for headers in [{"X-Forwarded-For": "203.0.113.9"}, {"X-Forwarded-User": "root"}, {"Forwarded": "for=203.0.113.9"}]:
        turned(wrong, *many, headers=headers)
    turned(request(params(auth={"deviceToken": "clvd_wrong"})), 1008,
           "unauthorized: the device token is not valid", "unauthorized")
    turned(request(params(auth=None)), 1008, "unauthorized: send a token, a device token or the password", "unauthorized")
    status, _, _ = rest("GET", "/v1/keys", token="wrong")
    assert status == 401, "HTTP counts by itself"
    again = turned(wrong, *many)
    assert again["retryAfterMs"] < failure["retryAfterMs"], "it is not extended"
    honest()
    turned(wrong, 1008, "unauthorized: the token is not valid", "unauthorized")


def locked_out_http():
    for _ in range(10):
        assert rest("GET", "/v1/keys", token="wrong")[0] == 401
    status, problem, headers = rest("GET", "/v1/keys", token="wrong")
    assert status == 429 and problem["code"] == "rate_limited" and 200 < int(headers["Retry-After"]) <= 300
    assert rest("GET", "/v1/keys", token="wrong", headers={"X-Forwarded-For": "203.0.113.9"})[0] == 429
    assert rest("GET", "/v1/keys", token=None)[0] == 401, "no credential is no attempt"
    assert rest("GET", "/health", token="wrong")[0] == 200
    assert rest("GET", "/v1/keys")[0] == 200, "a valid one passes"
    assert rest("GET", "/v1/keys", token="wrong")[0] == 401, "and clears what was before"


def upgrade(path="/v1/ws"):
    host, port = HOST.rsplit(":", 1)
    link = socket.create_connection((host, int(port)), timeout=20)
    link.sendall((f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n").encode())
    head = b""
    while b"\r\n\r\n" not in head:
        chunk = link.recv(4096)
        if not chunk:
            break
        head += chunk
    return link, head


def half_open():
    """A thousand sockets that say nothing: 64 are held, the others refused, and those who are known go on."""
    known = operator()
    links, refused = [], 0
    for _ in range(1_000):
        link, head = upgrade()
        if b" 101 " in head.split(b"\r\n")[0]:
            links.append(link)
        else:
            assert b" 429 " in head.split(b"\r\n")[0] and b"retry-after" in head.lower(), head
            refused += 1
            link.close()
    assert (len(links), refused) == (64, 936), (len(links), refused)
    assert known.call("keys.list")["items"]
    assert rest("GET", "/v1/keys")[0] == 200
    for link in links:
        link.close()
    deadline = time.time() + 10
    while True:
        try:
            honest()
            return
        except Exception:
            if time.time() > deadline:
                raise
            time.sleep(0.1)


def handshake_timeout():
    """Whoever says nothing is closed when the time is over; whoever was answered is not."""
    known, silent, began = operator(), Session(), time.time()
    assert silent.closed() == (1008, "handshake timeout")
    assert 0.8 < time.time() - began < 8
    assert known.call("keys.list")["items"]


def random_frames():
    """Thousands of frames of anything: no panic, no code of a fault of ours, and everybody else is answered."""
    dice, sent = random.Random(int(os.environ["SEED"])), 0
    methods = operator().welcome["methods"] + ["connect", "x", ""]

    def value(depth=0):
        kind = dice.randrange(8 if depth < 4 else 5)
        if kind < 5:
            return [None, True, dice.randrange(-10, 1 << 63), dice.random() * 1e300, "".join(chr(dice.randrange(1, 0x2FF)) for _ in range(dice.randrange(20)))][kind]
        if kind < 7:
            return {dice.choice(["name", "input", "topics", "claims", "x", "limit", "token"]): value(depth + 1) for _ in range(dice.randrange(4))}
        return [value(depth + 1) for _ in range(dice.randrange(4))]

    def frame():
        kind = dice.randrange(5)
        if kind == 0:
            return bytes(dice.randrange(256) for _ in range(dice.randrange(200))).decode("latin-1")
        if kind == 1:
            return "[" * dice.randrange(2_000)
        if kind == 2:
            return json.dumps(value())
        whole = {"type": dice.choice(["req", "req", "res", 1]), "id": dice.choice(["a", 1, "", "b" * 300]),
                 "method": dice.choice(methods), "params": value()}
        return json.dumps(whole)

    while sent < int(os.environ["FRAMES"]):
        session = operator()
        answered = []

        def read():
            try:
                while True:
                    answered.append(session.recv())
            except Exception:
                pass

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        for _ in range(500):
            try:
                session.ws.send(frame())
            except Exception:
                break
            sent += 1
        time.sleep(0.05)
        session.close()
        reader.join(5)
        for answer in answered:
            code = (answer.get("error") or {}).get("code", "")
            assert code not in ("internal", "stale_node", "audit_unavailable"), answer
    raw = 0
    while raw < 200:
        link, _ = upgrade()
        link.sendall(bytes(dice.randrange(256) for _ in range(dice.randrange(1, 400))))
        link.close()
        raw += 1
    honest()


def announced_giant():
    """A frame that is announced to be huge is refused at its head."""
    link, _ = upgrade()
    link.settimeout(10)
    link.sendall(b"\x81\xff" + (1 << 40).to_bytes(8, "big") + b"\0\0\0\0")
    data = b""
    while b"preauth payload too large" not in data:
        chunk = link.recv(4096)
        assert chunk, data
        data += chunk
    link.close()
    honest()


def jammed():
    """A client that reads nothing is closed when it has taken nothing for ten seconds; nobody else notices."""
    other, name = operator(), unique("jam")
    assert rest("POST", "/v1/keys", {"name": name, "type": "aes256-gcm"})[0] == 201
    session = Session(max_queue=1)
    session.hello(params())
    began = time.time()

    def flood():
        frame = {"type": "req", "method": "keys.encrypt", "params": {"name": name, "plaintext": base64.b64encode(b"x" * 150_000).decode()}}
        try:
            for count in range(400):
                session.ws.send(json.dumps(frame | {"id": str(count)}))
                time.sleep(0.01)
        except Exception:
            pass

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    slowest = 0
    while time.time() - began < 18:
        asked = time.time()
        assert other.call("keys.get", {"name": name})
        time.sleep(0.02)
        slowest = max(slowest, time.time() - asked)
    assert slowest < 5, slowest
    assert session.closed() == (1008, "slow consumer")


def reading():
    """However large the answers that a client asks for at once: it gets them all, as fast as it reads."""
    name = unique("large")
    assert rest("POST", "/v1/keys", {"name": name, "type": "aes256-gcm"})[0] == 201
    session = Session(max_queue=1)
    session.hello(params())
    text = base64.b64encode(b"x" * 380_000).decode()
    ids = [session.send("keys.encrypt", {"name": name, "plaintext": text}) for _ in range(32)]
    time.sleep(2)
    for id in ids:
        time.sleep(0.1)
        answer = session.response(id, 60)
        assert answer["ok"] and len(answer["payload"]["ciphertext"]) > 500_000, answer
    assert session.call("keys.list")["items"]
    session.close()


def password():
    hello = Session().hello(params(auth={"password": "correct horse"}, scopes=["operator.read"]))
    assert hello["auth"]["scopes"] == ["operator.read"]
    for _ in range(10):
        turned(request(params(auth={"password": "wrong"})), 1008, "unauthorized: the password is not right", "unauthorized")
    many = (1008, "unauthorized: too many failed attempts", "rate_limited")
    turned(request(params(auth={"password": "wrong"})), *many)
    # It can be guessed, so the right one waits too; a token does not.
    turned(request(params(auth={"password": "correct horse"})), *many)
    honest()


def hang_up(session):
    session.ws.socket.shutdown(socket.SHUT_RDWR)


def abandoned_passwords():
    """Whoever hangs up has tried all the same: the lockout comes, and trials wait for their turns."""
    for _ in range(40):
        session = Session()
        session.ws.send(json.dumps(request(params(auth={"password": "wrong"}))))
        time.sleep(0.05)
        hang_up(session)
    many = (1008, "unauthorized: too many failed attempts", "rate_limited")
    time.sleep(8)
    turned(request(params(auth={"password": "correct horse"})), *many)
    # Tokens count by themselves, and a right one makes no failure of the password forgotten.
    honest()
    turned(request(params(auth={"password": "correct horse"})), *many)


def guesses_at_once():
    """However many try at once, ten learn anything, and a token between them makes no difference."""
    told, lock = [], threading.Lock()

    def guess():
        session = Session()
        session.ws.send(json.dumps(request(params(auth={"password": "wrong"}))))
        end = session.closed(60)
        with lock:
            told.append(end[1])

    for _ in range(2):
        threads = [threading.Thread(target=guess) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        honest()
    assert told.count("unauthorized: the password is not right") == 10, told
    assert told.count("unauthorized: too many failed attempts") == 30, told


def of_one_principal():
    """Three sessions of a principal are allowed here: a fourth is refused, others are not, and one that ends makes room."""
    made = rest("POST", "/v1/api-keys", {"name": unique("many"), "roles": ["admin"]})[1]
    auth = {"token": made["secret"]}
    held = [operator(auth=auth) for _ in range(3)]
    many = (1008, "too many sessions of this principal; close one, or try another node", "rate_limited")
    for _ in range(3):
        turned(request(params(auth=auth)), *many)
    honest()
    held.pop().close()
    deadline = time.time() + 10
    while True:
        session = Session()
        if session.ask("connect", params(auth=auth))["ok"]:
            break
        assert time.time() < deadline
        time.sleep(0.05)
    turned(request(params(auth=auth)), *many)


def abandoned_subscriptions():
    """Whoever asks to be told and goes away leaves nothing behind."""
    def subscribers():
        head = {"Authorization": f"Bearer {TOKEN}"}
        call = urllib.request.Request(BASE + "/metrics", headers=head)
        text = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(call, timeout=30).read().decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith("claviger_event_subscribers"))

    before = subscribers()
    for count in range(200):
        session = operator() if count % 2 else Session("/sockets/events/nosuch")
        if count % 2:
            session.send("events.subscribe", {"topics": ["nosuch"]})
        else:
            session.ws.send(json.dumps(request(params())))
        time.sleep(count % 4 / 1_000)
        hang_up(session)
    deadline = time.time() + 15
    while subscribers() > before:
        assert time.time() < deadline, (before, subscribers())
        time.sleep(0.2)
    honest()


def proxied():
    """The peer is a trusted proxy: it says where requests come from, and who has been recognised."""
    user = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-User": "ada"}
    session = Session(headers=user)
    hello = session.hello(params(auth=None, scopes=["operator.read"]))
    assert hello["auth"]["scopes"] == ["operator.read"]
    session.fails("cluster.get", {}, "forbidden")
    policy = 'permit (principal == Claviger::Subject::"proxy#ada", action, resource);'
    assert rest("PUT", "/v1/policies/ada", {"policy": policy})[0] in (200, 201)
    assert session.call("cluster.get")["nodes"]
    for headers in [{"X-Forwarded-User": ""}, {}]:
        turned(request(params(auth=None)), 1008, "unauthorized: send a token, a device token or the password", "unauthorized", headers=headers)
    wrong = request(params(auth={"token": "wrong"}))
    evil = {"X-Forwarded-For": "127.0.0.1, 198.51.100.7"}
    for _ in range(10):
        turned(wrong, 1008, "unauthorized: the token is not valid", "unauthorized", headers=evil)
    many = (1008, "unauthorized: too many failed attempts", "rate_limited")
    turned(wrong, *many, headers={"X-Forwarded-For": "1.2.3.4, 198.51.100.7"})
    turned(wrong, 1008, "unauthorized: the token is not valid", "unauthorized", headers={"X-Forwarded-For": "198.51.100.8"})


def require_device():
    turned(request(params()), 1008, "device identity required", "invalid_request")


def lenient():
    """Where it is configured, a local direct request may be signed without the nonce, and in the first form."""
    device = Device()
    for form in ["v1", "v2", "v3"]:
        asked = params()
        turned(request(asked | {"device": device.claim(asked, None, form)}), 1008, "pairing required", "pairing_required")
    asked = params()
    turned(request(asked | {"device": device.claim(asked, None, "v1")}), 1008, "device nonce required",
           "invalid_request", headers={"X-Forwarded-For": "127.0.0.1"})


if __name__ == "__main__":
    for name in sys.argv[1:]:
        globals()[name]()
        print("ok", name)
