"""A client that is there when its node ends."""

import base64
import sys
import time

from session import *

what = sys.argv[1]
if what == "silent":
    session = Session()
elif what == "jammed":
    session, name = Session(max_queue=1), unique("jam")
    session.hello(params())
    assert rest("POST", "/v1/keys", {"name": name, "type": "aes256-gcm"})[0] == 201
    frame = {"type": "req", "method": "keys.encrypt"}
    frame["params"] = {"name": name, "plaintext": base64.b64encode(b"x" * 150_000).decode()}
    for count in range(150):
        try:
            session.ws.send(json.dumps(frame | {"id": str(count)}))
        except Exception:
            break
        time.sleep(0.01)
    print("ready", flush=True)
    time.sleep(60)
else:
    session = operator()
    if what == "listening":
        session.call("events.subscribe")
print("ready", flush=True)
print(*session.closed(60), flush=True)
