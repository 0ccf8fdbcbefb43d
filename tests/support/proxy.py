#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A small HTTP proxy on 127.0.0.1, for tests: whatever host is asked for, it is the server given.

    with Proxy(server_port) as proxy:
        ... HTTP_PROXY=proxy.url ...
        proxy.asked      # ("GET", "http://host/path") or ("CONNECT", "host:port"), one per connection
"""
import base64
import select
import socket
import threading

MAX_HEAD = 64 * 1024


class Proxy:
    """@login: "user:password" that must come with each connection."""

    def __init__(self, to=None, login=None):
        self.to, self.login, self.asked, self.sockets = to, login, [], set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://{login + '@' if login else ''}127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.accept, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        for sock in [self.listener, *self.sockets]:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()
        self.thread.join()

    def accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            self.sockets.add(client)
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        try:
            head = b""
            while b"\r\n\r\n" not in head and len(head) < MAX_HEAD:
                data = client.recv(65536)
                if not data:
                    return
                head += data
            method, target = head.decode("latin-1").split(" ")[:2]
            if self.login and b"Basic " + base64.b64encode(self.login.encode()) + b"\r\n" not in head:
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            self.asked.append((method, target))
            with socket.create_connection(("127.0.0.1", self.to)) as server:
                if method == "CONNECT":
                    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                else:
                    server.sendall(head)
                self.pump(client, server)
        except (OSError, ValueError):
            pass
        finally:
            self.sockets.discard(client)
            client.close()

    @staticmethod
    def pump(client, server):
        while True:
            for sock in select.select([client, server], [], [])[0]:
                data = sock.recv(65536)
                if not data:
                    return
                (server if sock is client else client).sendall(data)
