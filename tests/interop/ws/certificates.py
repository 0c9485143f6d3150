"""A session and a stream of events over connections that show a certificate, and what they come to. It is told what to do, and says when it is done."""

import http.client
import os
import queue
import ssl
import sys
import threading

from session import HOST, TOKEN, Session, params

PATIENCE = 60


def stream(context):
    """Names of events as they come, then `None`."""
    connection = http.client.HTTPSConnection(HOST, context=context, timeout=PATIENCE)
    headers = {"Authorization": f"Bearer {TOKEN}"} if TOKEN else {}
    connection.request("GET", "/v1/events?topics=key.created", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200, (answer.status, answer.read())
    told = queue.Queue()

    def read():
        for line in answer:
            if line.startswith(b"event: "):
                told.put(line.split()[1].decode())
        told.put(None)

    threading.Thread(target=read, daemon=True).start()
    return told


def main():
    context = ssl.create_default_context(cafile=os.environ["CLAVIGER_CA"])
    context.load_cert_chain(os.environ["CLAVIGER_CERTIFICATE"])
    session = Session(ssl=context)
    welcome = session.hello(params(scopes=["operator.write"], auth={"token": TOKEN} if TOKEN else {}))
    session.call("events.subscribe", {"topics": ["key.created"]})
    told = stream(context)
    print("begun", *welcome["auth"]["scopes"], flush=True)
    for line in sys.stdin:
        match line.strip():
            case "hear":
                session.event("key.created", PATIENCE)
                assert told.get(timeout=PATIENCE) == "key.created"
                print("heard", flush=True)
            case "encrypt":
                session.call("keys.encrypt", {"name": "k", "plaintext": "aGVsbG8="})
                print("encrypted", flush=True)
            case "sign":
                print(session.fails("keys.sign", {"name": "default-signing", "input": "aGk="})["code"], flush=True)
            case "end":
                code, reason = session.closed(PATIENCE)
                assert told.get(timeout=PATIENCE) is None
                print(code, reason, flush=True)


main()
