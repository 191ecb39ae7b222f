#!/usr/bin/env python3
"""A forward proxy that leads every CONNECT to one port of this host: a client can then ask for names that are not ours.

  connect_proxy.py PORT

Prints `listening ADDRESS` once it serves.
"""
import socket, socketserver, sys, threading


def copy(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


class Proxy(socketserver.StreamRequestHandler):
    def handle(self):
        while self.rfile.readline().strip():
            pass
        with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as target:
            self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=copy, args=(target, self.request))
            back.start()
            copy(self.request, target)
            back.join()


server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Proxy)
server.daemon_threads = True
print(f"listening 127.0.0.1:{server.server_address[1]}", flush=True)
server.serve_forever()
