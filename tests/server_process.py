"""A server in its own process, and requests to it."""

import contextlib
import http.client
import json
import re
import socket

from helpers import script_command, start

PREDICT = "/v1/models/mnist:predict"
JSON = {"Content-Type": "application/json"}


class Server:
    """A serve.py process. In `with Server(run) as server:` it listens at `server.port`."""

    def __init__(self, run, *flags):
        self.process = start(script_command("serve.py", "--run-dir", run, "--port", 0, *flags))

    def __enter__(self):
        line = self.process.stdout.readline()
        assert re.fullmatch(r"http://(127\.0\.0\.1|0\.0\.0\.0):\d+/\n", line), self.process.communicate()
        self.port = int(line.rstrip("/\n").rpartition(":")[2])
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.communicate()

    def open_connection(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def open_socket(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def request(self, method, path, body=None, headers=None):
        """Sends a request on a new connection. Returns (status, parsed JSON)."""
        return send_request(self.open_connection(), method, path, body, headers)

    def predict(self, content):
        """Sends bytes or text as they are, anything else as JSON, to the REST API's predict method."""
        body = content if isinstance(content, (bytes, str)) else json.dumps(content)
        return self.request("POST", PREDICT, body, JSON)

    def send_raw(self, content):
        """Sends bytes that the server rejects. Returns (status, parsed JSON)."""
        with self.open_socket() as connection:
            connection.sendall(content)
            return read_response(connection)

    def get_memory_mb(self, key="VmRSS"):
        """The resident memory, in MiB; with the key VmHWM its peak."""
        with open(f"/proc/{self.process.pid}/status") as file:
            return int(re.search(rf"{key}:\s+(\d+)", file.read()).group(1)) / 1024


def send_request(connection, method, path, body=None, headers=None):
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    assert response.getheader("Content-Type") == "application/json"
    return response.status, json.loads(response.read().decode())


def read_response(connection):
    """Reads one response from a socket. Returns (status, parsed JSON)."""
    with contextlib.closing(http.client.HTTPResponse(connection)) as response:
        response.begin()
        return response.status, json.loads(response.read().decode())
