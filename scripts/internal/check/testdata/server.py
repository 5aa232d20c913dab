"""A server in Python's standard library that meets the contract, nearly.

It keeps a lock for each key, held across the load: one load, and other keys do
not wait. What it lacks, the checker finds: silent clients are never sent away;
callers of a feed that hangs wait for each other's timeouts; and an old answer
is thrown away though it would do while the new one loads.
"""

import http.client
import http.server
import json
import os
import re
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET

TTL, TIMEOUT, MAX_FEED = 5.0, 3.0, 1 << 20
ATOM = "{http://www.w3.org/2005/Atom}"
CHANNEL = re.compile(r"UC[A-Za-z0-9_-]{22}")


class LoadError(Exception):
    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def load(channel):
    """The newest video of a channel, from the feed."""
    url = os.environ["FEED_URL"] + "?" + urllib.parse.urlencode({"channel_id": channel})
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            document = response.read(MAX_FEED)
        entry = ET.fromstring(document).find(ATOM + "entry/" + ATOM + "id")
    except (TimeoutError, socket.timeout) as e:
        raise LoadError(504, f"the feed took too long: {e}") from e
    except (OSError, http.client.HTTPException, ET.ParseError) as e:
        raise LoadError(502, f"the feed failed: {e}") from e
    if entry is None or not entry.text.startswith("yt:video:"):
        raise LoadError(502, "the feed has no video")
    video = entry.text.removeprefix("yt:video:")
    if video == "doom":
        raise RuntimeError("doom: the load cannot take this video")
    return video


class Slot:
    def __init__(self):
        self.lock = threading.Lock()  # held across the load
        self.value, self.stored = None, None


slots, slots_lock = {}, threading.Lock()


def get(channel):
    with slots_lock:
        slot = slots.setdefault(channel, Slot())
    with slot.lock:
        if slot.stored is None or time.monotonic() - slot.stored >= TTL:
            slot.value = load(channel)
            slot.stored = time.monotonic()
        return slot.value


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        text = (json.dumps(body) + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        channel = urllib.parse.parse_qs(url.query).get("channel", ["UCs4fQRyl1TJvoeOdekW6lYA"])[0]
        if url.path != "/":
            return self.answer(404, {"error": "there is nothing here"})
        if not CHANNEL.fullmatch(channel):
            return self.answer(400, {"error": "that is not a channel id"})
        try:
            self.answer(200, {"video_id": get(channel)})
        except LoadError as e:
            self.answer(e.status, {"error": str(e)})
        except RuntimeError as e:
            self.answer(500, {"error": str(e)})

    def do_POST(self):
        self.close_connection = True  # its body is not read
        self.answer(405, {"error": "only GET is allowed here"})

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is its own trouble


host, port = os.environ.get("ADDR", "127.0.0.1:3779").rsplit(":", 1)
Server((host, int(port)), Handler).serve_forever()
