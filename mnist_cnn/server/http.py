"""A waitress server with a deadline for each request and a graceful shutdown. Needs the extra `serve`."""

import copy
import functools
import json
import socket
import sys
import threading
import time
from typing import Any, Callable

from mnist_cnn.server.address import CannotListen
from mnist_cnn.server.app import (
    BUSY,
    IMAGE_PATH,
    LARGE_BODY_BYTES,
    MAX_BODY_BYTES,
    MAX_IMAGE_BYTES,
    RETRY_AFTER_SECS,
    SECURITY_HEADERS,
)

try:
    from waitress import wasyncore
    from waitress.channel import HTTPChannel
    from waitress.parser import HTTPRequestParser, ParsingError
    from waitress.server import TcpWSGIServer
    from waitress.task import ErrorTask
    from waitress.utilities import Error
except ImportError as error:
    raise ImportError("to serve, pip install '.[serve]'") from error

MAX_CONNECTIONS = 256  # open at the same time; each holds at most one body
NUM_THREADS = 4
# For a request to arrive completely. The client has as long again to read the response.
REQUEST_TIMEOUT_SECS = 10
IDLE_TIMEOUT_SECS = 60


class ServiceUnavailable(Error):
    code = 503
    reason = "Service Unavailable"


class RequestParser(HTTPRequestParser):
    """Parser of one request. It holds the server's `large_body_lock` from the header to the response of a large body.

    A body without a Content-Length cannot be large.
    """

    max_body_bytes = LARGE_BODY_BYTES
    holds_lock = False

    def __init__(self, server: "Server", adj: Any):
        super().__init__(adj)
        self._server = server

    def parse_header(self, header: bytes) -> None:
        try:
            super().parse_header(header)
        except ValueError as error:  # raised by int() for thousands of digits
            raise ParsingError("Content-Length is invalid") from error
        if self.content_length > LARGE_BODY_BYTES:
            is_image = (self.command, self.path) == ("POST", IMAGE_PATH)
            self.max_body_bytes = MAX_IMAGE_BYTES if is_image else self._server.max_body_bytes
            if self.content_length <= self.max_body_bytes:
                self._admit_large_body()

    def _admit_large_body(self):
        self.holds_lock = self._server.large_body_lock.acquire(blocking=False)
        if self.holds_lock:
            self.adj = copy.copy(self.adj)
            self.adj.max_request_body_size = self.max_body_bytes + 1
        else:
            self.error = ServiceUnavailable(BUSY)
            # waitress then takes the request for complete, and does not ask for the body.
            self.body_rcv, self.content_length, self.expect_continue = None, 0, False

    def close(self) -> None:
        super().close()
        if self.holds_lock:
            self.holds_lock = False
            self._server.large_body_lock.release()


class JSONErrorTask(ErrorTask):
    """Error response for malformed HTTP, in the same JSON form as the application's errors."""

    def execute(self) -> None:
        error = self.request.error
        message = f"the body has over {self.request.max_body_bytes:,} bytes" if error.code == 413 else error.body
        body = json.dumps({"error": message}).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers = [
            *SECURITY_HEADERS.items(),
            ("Content-Type", "application/json"),
            ("Connection", "close"),
        ]
        if error.code == 503:
            self.response_headers.append(("Retry-After", str(RETRY_AFTER_SECS)))
        self.close_on_finish = True
        self.content_length = len(body)
        self.write(body)


class RequestTimeout(Error):
    code = 408
    reason = "Request Timeout"


class Channel(HTTPChannel):
    """A connection. It is receiving a request, computing or sending a response, lingering, or idle."""

    error_task_class = JSONErrorTask
    has_unread_input = False  # the request was rejected before its end: the client may still be sending
    lingering = False  # closed for writing; incoming data is discarded until the client closes too

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.parser_class = functools.partial(RequestParser, self.server)
        self.state_since = time.monotonic()  # when it began to receive, send, linger or be idle
        # Without this, waitress before 3.0.1 never closes a channel whose client has disconnected by now.
        self.connected = True

    @property
    def idle(self) -> bool:
        return not (self.request or self.requests or self.total_outbufs_len or self.close_when_flushed)

    def received(self, data: bytes) -> bool:
        if self.idle:
            self.state_since = time.monotonic()
        return super().received(data)

    def write_soon(self, data: bytes) -> int:
        self.state_since = time.monotonic()
        return super().write_soon(data)

    def service(self) -> None:
        if self.server.stopping and len(self.requests) == 1:
            self.requests[0].headers["CONNECTION"] = "close"  # waitress closes as if the client had requested it
        self.has_unread_input = self.requests[0].error is not None
        super().service()
        self.state_since = time.monotonic()

    def enforce_deadline(self) -> None:
        """Close the connection if its client has exceeded its time, or if it is idle and the server is stopping."""
        if self.idle and not self.lingering:
            if self.server.stopping or time.monotonic() > self.state_since + IDLE_TIMEOUT_SECS:
                super().handle_close()
        elif time.monotonic() > self.state_since + REQUEST_TIMEOUT_SECS:
            if self.requests and not self.total_outbufs_len:  # the response is still to be computed
                if self._has_client_left():
                    super().handle_close()
            elif self.request and not self.requests:
                self._send_timeout_response()
            else:
                super().handle_close()

    def _has_client_left(self):
        # waitress does not read while a request waits, so it does not see that its client has closed the connection.
        try:
            return self.socket.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _send_timeout_response(self):
        self.state_since = time.monotonic()
        with self.requests_lock:
            self.request.error = RequestTimeout(f"the request was not complete after {REQUEST_TIMEOUT_SECS} seconds")
            self.requests.append(self.request)
            self.request = None
            self.server.add_task(self)

    def del_channel(self, map: Any = None) -> None:
        super().del_channel(map)
        if self.request:  # its body was not received completely
            self.request.close()

    # Lingering close: closing a socket with unread data sends RST, which makes the client lose the response.

    def handle_close(self) -> None:
        if self.has_unread_input and self.will_close and self.connected and not self.lingering:
            self.lingering = True
            self.state_since = time.monotonic()
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                super().handle_close()
        else:
            super().handle_close()

    def readable(self) -> bool:
        return self.lingering or super().readable()

    def writable(self) -> bool:
        return not self.lingering and super().writable()

    def handle_read(self) -> None:
        if self.lingering:
            self.recv(2**16)
        else:
            super().handle_read()


class Server(TcpWSGIServer):
    """An HTTP server for a WSGI application.

    It listens as soon as it is created. Connections that arrive before `run` is called wait until then.
    """

    channel_class = Channel
    stopping = False

    def __init__(self, application: Callable, host: str, port: int, max_body_bytes: int = MAX_BODY_BYTES):
        """Listen at a host and port.

        Args:
          application: a WSGI application.
          host: a name or an address.
          port: 0..65535; 0 chooses a free port, which is then in the attribute `effective_port`.

        Raises:
          CannotListen: the port is in use, say, or the host is not an address of this machine.
        """
        self.max_body_bytes = max_body_bytes
        self.large_body_lock = threading.Lock()
        try:
            super().__init__(
                application,
                host=host,
                port=port,
                threads=NUM_THREADS,
                connection_limit=MAX_CONNECTIONS,
                cleanup_interval=1,
                max_request_body_size=LARGE_BODY_BYTES + 1,
                max_request_header_size=2**14,
                # Large enough that waitress never writes a request or a response to a temporary file.
                inbuf_overflow=2 * MAX_IMAGE_BYTES,
                outbuf_overflow=2**24,
                outbuf_high_watermark=2**20,
                recv_bytes=2**16,
                asyncore_use_poll=True,
                clear_untrusted_proxy_headers=True,
                log_socket_errors=False,
                ident=None,
            )
        except (OSError, OverflowError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise CannotListen(f"cannot listen at {host}, port {port} ({reason})") from error

    def set_reuse_addr(self) -> None:
        """Allow a restart at once, but no second server on this port, which SO_REUSEADDR allows on Windows."""
        if sys.platform == "win32":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            super().set_reuse_addr()

    def stop(self) -> None:
        """Make `run` return. May be called in a signal handler or in another thread, and more than once."""
        if self.stopping:
            return  # `run` may have closed the trigger, and its file descriptor may be another file's by now
        self.stopping = True
        self.pull_trigger()

    def run(self) -> None:
        """Serve until `stop` is called, then answer the requests that were sent before and return."""
        while not self.stopping:
            self._poll(1)
        self._accept_pending()
        # Close the listening socket alone. self.close() would close the trigger too, which the threads still use.
        wasyncore.dispatcher.close(self)
        timeout = 0
        while self.active_channels:
            self._poll(timeout)
            self.maintenance(time.time())
            timeout = 1
        self.task_dispatcher.shutdown()
        self.trigger.close()

    def maintenance(self, now: float) -> None:
        # Not waitress's own, which closes idle connections by the time of day: the clock may be set back.
        for channel in list(self.active_channels.values()):
            channel.enforce_deadline()

    def _poll(self, timeout):
        self.next_channel_cleanup = min(self.next_channel_cleanup, time.time() + 1)  # the clock may be set back
        wasyncore.loop(timeout, use_poll=True, map=self._map, count=1)

    def _accept_pending(self):
        """Accept all connections that wait in the listening socket's backlog."""
        num_before = -1
        while len(self.active_channels) > num_before:
            num_before = len(self.active_channels)
            self.handle_accept()
