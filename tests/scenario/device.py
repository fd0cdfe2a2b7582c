"""A device as they are: it gives a session to who logs in, and keeps it until that logs out."""

import gzip
import json
import threading
import urllib.parse


class Device:
    """`how` is where the session stands in the answer to a login: json, header, cookie or url (the
    client chooses its name). script() is for harness.Backend."""

    def __init__(self, how="json", limit=10000):
        self.how = how
        self.limit = limit
        self.lock = threading.Lock()
        self.held = {}          # session -> how often
        self.order = []         # ("login" or "logout", session)
        self.requests = []
        self.count = 0
        self.logout_status = None   # None: 204, and 404 for what is not held
        self.answer = self.usual    # of a login: (conn, session, request)

    def login(self, session):
        with self.lock:
            if len(self.held) >= self.limit:
                return False
            self.held[session] = self.held.get(session, 0) + 1
            self.order.append(("login", session))
        return True

    def logout(self, session):
        with self.lock:
            known = session in self.held
            self.order.append(("logout", session))
            if known:
                del self.held[session]
        return "204 No Content" if known else "404 Not Found"

    def logouts(self):
        return [s for what, s in self.order if what == "logout"]

    def body(self, session):
        return json.dumps({"data": {"items": [{"id": session}]}, "node": "n1"}).encode()

    def usual(self, conn, session, request):
        headers = {"header": [("X-Session", session)],
                   "cookie": [("Set-Cookie", f"SID={session}; Path=/; HttpOnly")]}.get(self.how, [])
        conn.answer(self.body(session) if self.how == "json" else b"welcome\n", headers=headers)

    def session_of(self, request, query):
        if self.how == "cookie":
            return request.get("cookie", "").partition("SID=")[2]
        if self.how == "header":
            return request.get("x-session", "")
        if self.how == "url":
            return urllib.parse.unquote(request.target.split("?")[0].rpartition("/")[2])
        return query.get("session", [""])[0]

    def one(self, conn, request):
        path, _, rest = request.target.partition("?")
        query = urllib.parse.parse_qs(rest, keep_blank_values=True)
        self.requests.append(request)
        if path == "/login" or (self.how == "url" and request.method == "PUT"):
            with self.lock:
                self.count += 1
                session = f"s-{self.count}"
            session = query.get("as", [session])[0]
            if self.how == "url":
                session = self.session_of(request, query)
            if not self.login(session):
                conn.answer(b"full\n", "503 Service Unavailable")
            else:
                self.answer(conn, session, request)
        elif path == "/logout" or (self.how == "url" and request.method == "DELETE"):
            status = self.logout(self.session_of(request, query))
            status = self.logout_status or status
            conn.send(f"HTTP/1.1 {status}\r\n" +
                      ("" if status[:3] == "204" else "Content-Length: 0\r\n") + "\r\n")
        else:
            conn.answer(b"ok\n")

    def script(self, conn):
        while (request := conn.request()) is not None:
            self.one(conn, request)
            if request.closes:
                return


RULES = {
    "json": {"take": [{"name": "session", "json": "$.data.items[0].id"}],
             "hold": {"path": "/logout?session={session}"}},
    "header": {"take": [{"name": "session", "header": "x-session"}],
               "hold": {"path": "/logout", "headers": [{"name": "X-Session",
                                                        "value": "{session}"}]}},
    "cookie": {"take": [{"name": "session", "cookie": "SID"}],
               "hold": {"path": "/logout", "headers": [{"name": "Cookie",
                                                        "value": "SID={session}"}]}},
    "url": {"acquire": {"method": "PUT", "path": "/locks/{lock}"},
            "hold": {"method": "DELETE", "path": "/locks/{lock}"}},
}


def rule(how="json", **more):
    return {"name": "device", "acquire": {"path": "/login"}, **RULES[how], **more}


def gzipped(conn, session, device):
    conn.answer(gzip.compress(device.body(session)), headers=[("Content-Encoding", "gzip")])
