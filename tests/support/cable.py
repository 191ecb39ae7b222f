#!/usr/bin/env python3
"""GitLab's WebSockets and their clients, on a real implementation of RFC 6455 (python3-websockets).

  cable.py serve                        /-/cable as ActionCable, …/terminal.ws as a terminal (a shell in a pty)
  cable.py cable|terminal URL [HEADER]  talks to it and waits for the end; prints what it saw as JSON

`serve` prints `listening ADDRESS` once it serves.
"""
import asyncio, json, os, pty, ssl, sys, time
import websockets

CABLE, TERMINAL = "actioncable-v1-json", "terminal.gitlab.com"


async def action_cable(socket):
    await socket.send(json.dumps({"type": "welcome"}))

    async def ping():
        while True:
            await asyncio.sleep(1)
            await socket.send(json.dumps({"type": "ping", "message": int(time.time())}))

    pinging = asyncio.create_task(ping())
    try:
        async for text in socket:
            said = json.loads(text)
            if said["command"] == "subscribe":
                await socket.send(json.dumps({"type": "confirm_subscription", "identifier": said["identifier"]}))
            else:
                user = socket.request_headers.get("X-Forwarded-User")
                await socket.send(json.dumps({"identifier": said["identifier"], "message": {"echo": said["data"], "user": user}}))
    finally:
        pinging.cancel()


async def terminal(socket):
    pid, master = pty.fork()
    if not pid:
        os.execv("/bin/sh", ["sh"])
    loop = asyncio.get_running_loop()
    loop.add_reader(master, lambda: asyncio.ensure_future(socket.send(os.read(master, 65536))))
    try:
        async for keys in socket:
            os.write(master, keys)
    finally:
        loop.remove_reader(master)
        os.close(master)
        os.waitpid(pid, 0)


async def serve():
    async def each(socket):
        try:
            await (terminal if socket.path.endswith("terminal.ws") else action_cable)(socket)
        except websockets.ConnectionClosed:
            pass

    async with websockets.serve(each, "127.0.0.1", 0, subprotocols=[CABLE, TERMINAL], max_size=None) as server:
        print("listening 127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()


async def talk(kind, url, headers):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    protocol = CABLE if kind == "cable" else TERMINAL
    seen = {}
    try:
        async with websockets.connect(url, ssl=context if url.startswith("wss:") else None, subprotocols=[protocol], extra_headers=headers, max_size=None, ping_interval=None, close_timeout=2) as socket:
            seen["protocol"] = socket.subprotocol
            if kind == "cable":
                seen["welcome"] = json.loads(await socket.recv())["type"]
                await socket.send(json.dumps({"command": "subscribe", "identifier": "notes"}))
                for data in "hello", "x" * 1_000_000:
                    await socket.send(json.dumps({"command": "message", "identifier": "notes", "data": data}))
                seen["echo"] = []
                while len(seen["echo"]) < 2:
                    said = json.loads(await asyncio.wait_for(socket.recv(), 20))
                    if "message" in said and "identifier" in said:
                        seen["echo"].append(len(said["message"]["echo"]))
                        seen["user"] = said["message"]["user"]
                    elif said["type"] == "confirm_subscription":
                        seen["subscribed"] = said["identifier"]
            else:
                await socket.send(b"test -t 0 && echo tty-$((6*7))\n")
                output = b""
                while b"tty-42" not in output:
                    output += await asyncio.wait_for(socket.recv(), 20)
                seen["terminal"] = output.decode()
            try:
                while True:
                    await asyncio.wait_for(socket.recv(), 30)
            except websockets.ConnectionClosed:
                seen["closed"] = time.time()
            except asyncio.TimeoutError:
                seen["closed"] = None
    except websockets.InvalidStatusCode as refused:
        seen["status"], seen["reason"] = refused.status_code, refused.headers.get("X-Gate-Reason")
    print(json.dumps(seen))


if sys.argv[1] == "serve":
    asyncio.run(serve())
else:
    asyncio.run(talk(sys.argv[1], sys.argv[2], [it.split(": ", 1) for it in sys.argv[3:]]))
