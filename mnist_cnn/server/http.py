"""waitress, with a deadline for each whole request, and an end that loses none. Needs the extra `serve`."""

import json
import socket
import time

from mnist_cnn.errors import InputError
from mnist_cnn.server.app import HEADERS

try:
    from waitress import wasyncore
    from waitress.channel import HTTPChannel
    from waitress.parser import HTTPRequestParser, ParsingError
    from waitress.server import TcpWSGIServer
    from waitress.task import ErrorTask
    from waitress.utilities import Error
except ImportError as error:
    raise ImportError("to serve, pip install '.[serve]'") from error

MAX_BODY = 10**6  # bytes
CONNECTIONS = 256  # at once, each with a body at most
THREADS = 4
REQUEST_SECS = 10  # from a request's first byte to its answer, and as long to fetch that
IDLE_SECS = 60


class Parser(HTTPRequestParser):
    def parse_header(self, header):
        try:
            super().parse_header(header)
        except ValueError as error:  # of int(), for thousands of digits
            raise ParsingError("Content-Length is invalid") from error


class Refusal(ErrorTask):
    """Answers what HTTP itself forbids, as the application answers errors."""

    def execute(self):
        error = self.request.error
        message = f"the body has over {MAX_BODY:,} bytes" if error.code == 413 else error.body
        body = json.dumps({"error": message}).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers = [*HEADERS.items(), ("Content-Type", "application/json"), ("Connection", "close")]
        self.close_on_finish = True
        self.content_length = len(body)
        self.write(body)


class RequestTimeout(Error):
    code = 408
    reason = "Request Timeout"


class Channel(HTTPChannel):
    """A connection."""

    parser_class = Parser
    error_task_class = Refusal
    begun = 0  # when the request that is under way was begun, by time.monotonic()
    refused = False  # and not read to its end: there may be more of it
    lingering = False  # closed on this side, until the client has read all and closes too

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.connected = True  # or waitress before 3.0.1 would keep for ever whoever has left by now

    @property
    def idle(self):
        return not (self.request or self.requests or self.total_outbufs_len or self.close_when_flushed)

    def received(self, data):
        if self.idle:
            self.begun = time.monotonic()
        return super().received(data)

    def service(self):
        if self.server.stopping and len(self.requests) == 1:
            self.requests[0].headers["CONNECTION"] = "close"  # as if the client had asked for it
        self.refused = self.requests[0].error is not None
        super().service()
        self.begun = time.monotonic()

    def keep_deadline(self):
        if self.idle and not self.lingering:
            if self.server.stopping:
                super().handle_close()
        elif time.monotonic() > self.begun + REQUEST_SECS:
            if self.request and not self.requests:
                self._give_up()
            else:
                super().handle_close()

    def _give_up(self):
        self.begun = time.monotonic()
        with self.requests_lock:
            self.request.error = RequestTimeout(f"the request was not complete after {REQUEST_SECS} seconds")
            self.requests.append(self.request)
            self.request = None
            self.server.add_task(self)

    # Who closes a socket with something unread in it makes the client lose the answer.

    def handle_close(self):
        if self.refused and self.will_close and self.connected and not self.lingering:
            self.lingering = True
            self.begun = time.monotonic()
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                super().handle_close()
        else:
            super().handle_close()

    def readable(self):
        return self.lingering or super().readable()

    def writable(self):
        return not self.lingering and super().writable()

    def handle_read(self):
        if self.lingering:
            self.recv(2**16)
        else:
            super().handle_read()


class Server(TcpWSGIServer):
    """Listens from the beginning, so that nothing is refused that comes before `run`."""

    channel_class = Channel
    stopping = False

    def __init__(self, application, host, port):
        """Raises InputError where it cannot listen there. Port 0 is a free one, then `effective_port`."""
        try:
            super().__init__(
                application,
                host=host,
                port=port,
                threads=THREADS,
                connection_limit=CONNECTIONS,
                channel_timeout=IDLE_SECS,
                cleanup_interval=1,
                max_request_body_size=MAX_BODY + 1,
                max_request_header_size=2**14,
                # Nothing goes into temporary files: bodies are smaller, and answers wait for whoever fetches them.
                inbuf_overflow=2 * MAX_BODY,
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
            raise InputError(
                f"cannot listen at {host}, port {port} ({reason}): name another --host or --port"
            ) from error

    def stop(self):
        """Lets `run` end. May be called by a signal's handler, or in another thread."""
        self.stopping = True
        self.pull_trigger()

    def run(self):
        """Answers until `stop` is called, then what has been sent until then."""
        while not self.stopping:
            self._poll(1)
        self._take_who_waits()
        wasyncore.dispatcher.close(self)
        timeout = 0
        while self.active_channels:
            self._poll(timeout)
            self.maintenance(time.time())
            timeout = 1
        self.task_dispatcher.shutdown()
        self.trigger.close()

    def maintenance(self, now):
        super().maintenance(now)
        for channel in list(self.active_channels.values()):
            channel.keep_deadline()

    def _poll(self, timeout):
        wasyncore.loop(timeout, use_poll=True, map=self._map, count=1)

    def _take_who_waits(self):
        before = -1
        while len(self.active_channels) > before:
            before = len(self.active_channels)
            self.handle_accept()
