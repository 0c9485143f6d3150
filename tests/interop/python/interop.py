"""PyJWT, joserfc and cryptography against a running node: each reads what the other wrote.

Environment: URL, TOKEN. Prints one line per agreement; the first disagreement ends the program.
"""

import base64
import json
import os
import urllib.request

import jwt
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc import jwe
from joserfc.jwk import OctKey

URL, TOKEN = os.environ["URL"], os.environ["TOKEN"]
FAR = 4_000_000_000
SECRET = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-"
ASYMMETRIC = {
    "rs256": "RS256", "rs384": "RS384", "rs512": "RS512", "ps256": "PS256", "ps384": "PS384", "ps512": "PS512",
    "es256": "ES256", "es384": "ES384", "eddsa": "EdDSA",
}


def call(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, {"Authorization": "Bearer " + TOKEN})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def b64(data):
    return base64.b64encode(data).decode()


def verdict(token):
    return call("/v1/tokens/verify", {"token": token})


def issued_here(issuer):
    """PyJWKClient finds the key by kid; PyJWT verifies signature, audience and issuer."""
    for key_type in ASYMMETRIC:
        call("/v1/keys", {"name": "ours-" + key_type, "type": key_type})
    client = jwt.PyJWKClient(URL + "/.well-known/jwks.json")
    for key_type, algorithm in ASYMMETRIC.items():
        token = call("/v1/tokens", {"key": "ours-" + key_type, "subject": "alice", "audience": "shop"})["token"]
        key = client.get_signing_key_from_jwt(token).key
        claims = jwt.decode(token, key, algorithms=[algorithm], audience="shop", issuer=issuer)
        assert claims["sub"] == "alice"
        assert list(jwt.get_unverified_header(token)) == ["alg", "kid", "typ"]
        print("PyJWT reads", algorithm)


def issued_there():
    private = {
        "rs256": rsa.generate_private_key(65537, 2048),
        "es256": ec.generate_private_key(ec.SECP256R1()),
        "es384": ec.generate_private_key(ec.SECP384R1()),
        "eddsa": ed25519.Ed25519PrivateKey.generate(),
    }
    for key_type, key in private.items():
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        made = call("/v1/keys/import", {"name": "theirs-" + key_type, "type": key_type, "material": pem})
        kid = made["versions"][-1]["kid"]
        token = jwt.encode({"exp": FAR}, key, algorithm=ASYMMETRIC[key_type], headers={"kid": kid})
        assert verdict(token)["valid"] is True
        print("reads PyJWT's", ASYMMETRIC[key_type])


def symmetric():
    for key_type, length in [("hs256", 32), ("hs384", 48), ("hs512", 64)]:
        raw, algorithm, kid = SECRET[:length], key_type.upper(), "kid-" + key_type
        call("/v1/keys/import", {"name": kid, "type": key_type, "material": b64(raw), "kid": kid})
        jwt.decode(call("/v1/tokens", {"key": kid})["token"], raw, algorithms=[algorithm])
        assert verdict(jwt.encode({"exp": FAR}, raw, algorithm=algorithm, headers={"kid": kid}))["valid"] is True
        print("both read", algorithm)


def encrypted():
    raw = SECRET[1:33]
    body = {"name": "jwe", "type": "aes256-gcm", "usage": "token", "material": b64(raw), "kid": "kid-jwe"}
    call("/v1/keys/import", body)
    key, algorithms = OctKey.import_key(raw), ["dir", "A256GCM"]
    token = call("/v1/tokens", {"key": "jwe", "subject": "alice"})["token"]
    opened = jwe.decrypt_compact(token, key, algorithms=algorithms)
    assert json.loads(opened.plaintext)["sub"] == "alice"
    header = {"alg": "dir", "enc": "A256GCM", "kid": "kid-jwe"}
    theirs = jwe.encrypt_compact(header, json.dumps({"exp": FAR, "role": "r"}), key, algorithms=algorithms)
    assert verdict(theirs)["claims"]["role"] == "r"
    print("both read JWE")


def fernet():
    raw = SECRET[2:34]
    theirs = Fernet(base64.urlsafe_b64encode(raw))
    call("/v1/keys/import", {"name": "fernet", "type": "fernet", "material": b64(raw)})
    sealed = call("/v1/keys/fernet/encrypt", {"plaintext": b64(b"hello")})["ciphertext"]
    assert theirs.decrypt(sealed.encode()) == b"hello"
    opened = call("/v1/keys/fernet/decrypt", {"ciphertext": theirs.encrypt(b"hello").decode()})
    assert base64.b64decode(opened["plaintext"]) == b"hello"
    print("both read Fernet")


def stored():
    """What Python keeps at rest is taken in, in each of its forms; what is handed out is read by joserfc and written anew here."""
    raw, fernet_key = SECRET[3:35], SECRET[4:36]
    call("/v1/keys/import", {"name": "rest-aes", "type": "aes256-gcm", "material": b64(raw), "kid": "kid-rest"})
    call("/v1/keys/import", {"name": "rest-fernet", "type": "fernet", "material": b64(fernet_key)})
    key, algorithms = OctKey.import_key(raw), ["dir", "A256GCM"]
    header = {"alg": "dir", "enc": "A256GCM", "kid": "kid-rest"}
    token = Fernet(base64.urlsafe_b64encode(fernet_key)).encrypt("höllo".encode())
    forms = {
        "jwe": (jwe.encrypt_compact(header, json.dumps({"v": "höllo"}), key, algorithms=algorithms), "rest-aes"),
        "fernet": (token.decode(), "rest-fernet"),
        "base64url": (base64.urlsafe_b64encode(token).decode(), "rest-fernet"),
        "base64": (b64(token), "rest-fernet"),
    }
    puts = [{"name": name, "ciphertext": text, "key": key_name} for name, (text, key_name) in forms.items()]
    done = call("/v1/secrets/alice:batch", {"put": puts, "get": list(forms)})
    assert all(item.get("version") == 1 for item in done["put"]), done
    assert [item["value"] for item in done["get"]] == ["höllo"] * 4, done
    exported = call("/v1/secrets/alice/base64?as=jwe&key=rest-aes")["ciphertext"]
    opened = jwe.decrypt_compact(exported, key, algorithms=algorithms)
    assert json.loads(opened.plaintext) == {"v": "höllo"}
    assert opened.protected == header and list(opened.protected) == ["alg", "enc", "kid"]
    print("both read stored values")


issued_here(call("/.well-known/openid-configuration")["issuer"])
issued_there()
symmetric()
encrypted()
fernet()
stored()
print("agreed")
