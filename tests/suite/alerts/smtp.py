"""A mail server for tests: the first line that it prints is its port, then each message is a line of JSON. Arguments: tls|starttls|plain CERT KEY."""
import asyncio, json, ssl, sys

from aiosmtpd.smtp import SMTP, AuthResult


class Keep:
    async def handle_DATA(self, server, session, envelope):
        told = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": session.ssl is not None or mode == "tls",
            "user": session.auth_data,
            "text": envelope.content.decode(),
        }
        print(json.dumps(told), flush=True)
        return "250 OK"


def judge(server, session, envelope, mechanism, auth_data):
    if (auth_data.login, auth_data.password) != (b"claviger", b"mail-secret-11"):
        return AuthResult(success=False, handled=False)
    return AuthResult(success=True, auth_data="claviger")


def factory():
    starttls = mode == "starttls"
    return SMTP(Keep(), hostname="localhost", tls_context=context if starttls else None, require_starttls=starttls,
                authenticator=judge, auth_required=mode != "plain", auth_require_tls=starttls)


async def serve():
    server = await asyncio.get_running_loop().create_server(
        factory, "127.0.0.1", 0, ssl=context if mode == "tls" else None)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


mode, cert, key = sys.argv[1:4]
context = None
if mode != "plain":
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
asyncio.run(serve())
