"""An application for test_app.py, run by sluice: serves HTTP/1.1, and writes what happens to it, a
line each, to a file whose order is the order of events.

    child_app.py PORT LOG [OPTION...]

    ignore          SIGTERM
    slow=SECONDS    from SIGTERM to its exit
    egress=ADDRESS  asks there from SIGTERM until its exit
    always          asks from its start on
    code=N          that it exits with
    late            closes its listener at SIGTERM, as servers do
"""

import http.client
import http.server
import os
import signal
import sys
import threading
import time

port, log_path = int(sys.argv[1]), sys.argv[2]
options = dict(o.partition("=")[::2] for o in sys.argv[3:])
log_fd = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def log(line):
    os.write(log_fd, f"{line}\n".encode())


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.startswith("/exit/"):
            log("exit")
            os._exit(int(self.path[6:]))
        if self.path == "/last":  # answered whole, and then it has gone
            body = b"x" * 1000
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()
            os._exit(0)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/slow":
            time.sleep(1)
        log("request")
        body = b"ok\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


def ask(address):
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


class Egress(threading.Thread):
    """What it asks elsewhere, one after the other, until it is told that the end has come."""

    def __init__(self):
        super().__init__(daemon=True)
        self.asked = self.failed = 0
        self.last = threading.Event()
        self.start()

    def run(self):
        while True:
            last = self.last.wait(0.01)
            self.asked += 1
            self.failed += not ask(options["egress"])
            if last:
                return


egress = Egress() if "egress" in options and "always" in options else None


def end():
    asks = egress or ("egress" in options and Egress())
    time.sleep(float(options.get("slow", 0)))
    if asks:
        asks.last.set()
        asks.join()
        log(f"egress {asks.asked} failed {asks.failed}")
    log("end")
    os._exit(int(options.get("code", 0)))


def on_term(*_):
    log("term")
    if "ignore" not in options:
        threading.Thread(target=end, daemon=True).start()


signal.signal(signal.SIGTERM, on_term)
server = Server(("127.0.0.1", port), Handler)
log(f"up {os.getpid()}")
server.serve_forever(poll_interval=0.05)
