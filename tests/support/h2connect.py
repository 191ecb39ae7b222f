#!/usr/bin/python3
"""CONNECT over HTTP/2 (cleartext, prior knowledge): h2connect.py PORT AUTHORITY TOKEN. Sends it, and bytes for
the target right after it; prints the answer's fields, `data BYTES`, `reset CODE`, `goaway CODE` or `closed`, one a line."""
import socket, sys
import h2.config, h2.connection, h2.events

port, authority, token = sys.argv[1:]
connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8", validate_outbound_headers=False))
wire = socket.create_connection(("127.0.0.1", int(port)), timeout=10)
wire.settimeout(5)
connection.initiate_connection()
connection.send_headers(1, [(":method", "CONNECT"), (":authority", authority), ("proxy-authorization", "Bearer " + token)])
connection.send_data(1, b"sink\nbytes for the target")
wire.sendall(connection.data_to_send())
done = False
try:
    while not done and (data := wire.recv(65536)):
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                for name, value in event.headers:
                    print(f"{name}: {value}")
            elif isinstance(event, h2.events.DataReceived):
                print("data", event.data[:200])
            elif isinstance(event, h2.events.StreamReset):
                print("reset", int(event.error_code))
                done = True
            elif isinstance(event, h2.events.ConnectionTerminated):
                print("goaway", int(event.error_code))
                done = True
            elif isinstance(event, h2.events.StreamEnded):
                done = True
        wire.sendall(connection.data_to_send())
    if not done:
        print("closed")
except TimeoutError:
    print("timeout")
