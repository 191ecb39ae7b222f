#!/usr/bin/env python3
"""A person's browser: Debian's headless Chromium with an empty profile, driven over its own protocol.

  browser.py URL SCREENSHOT.png [cookie:NAME=VALUE | header:NAME=VALUE]...

Opens the page, waits until no more pages come, and prints as JSON where it ended, what is to be read
there, which cookies the site has set, and each page that was asked for on the way with its status.
"""
import asyncio, base64, itertools, json, shutil, subprocess, sys, tempfile, time
import websockets

BROWSER = shutil.which("chromium-headless-shell") or shutil.which("chromium")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --ignore-certificate-errors --remote-debugging-port=0"
).split()
QUIET = 1.5  # seconds without another page


async def walk(address, url, shot, options):
    async with websockets.connect(address, max_size=None) as socket:
        numbers, waiting, steps, last = itertools.count(1), {}, [], [time.monotonic(), False]

        async def listen():
            async for text in socket:
                said = json.loads(text)
                if "id" in said:
                    waiting.pop(said["id"]).set_result(said)
                    continue
                what, about = said["method"], said.get("params", {})
                if what == "Page.loadEventFired":
                    last[:] = [time.monotonic(), True]
                if about.get("type") != "Document":
                    continue
                if what == "Network.requestWillBeSent":
                    last[:] = [time.monotonic(), False]
                    if about.get("redirectResponse"):
                        steps[-1][2] = about["redirectResponse"]["status"]
                    steps.append([about["request"]["method"], about["request"]["url"], None])
                elif what == "Network.responseReceived" and steps:
                    steps[-1][2] = about["response"]["status"]

        listening = asyncio.create_task(listen())

        async def ask(method, session=None, **params):
            number = next(numbers)
            waiting[number] = asyncio.get_running_loop().create_future()
            await socket.send(json.dumps({"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})}))
            answer = await asyncio.wait_for(waiting[number], 30)
            if "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']}")
            return answer["result"]

        target = (await ask("Target.createTarget", url="about:blank"))["targetId"]
        tab = (await ask("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        await ask("Page.enable", tab)
        await ask("Network.enable", tab)
        headers = {}
        for option in options:
            kind, pair = option.split(":", 1)
            name, value = pair.split("=", 1)
            if kind == "cookie":
                await ask("Network.setCookie", tab, name=name, value=value, url=url, secure=True, httpOnly=True)
            else:
                headers[name] = value
        await ask("Network.setExtraHTTPHeaders", tab, headers=headers)
        await ask("Page.navigate", tab, url=url)
        end = time.monotonic() + 40
        while time.monotonic() < end and not (last[1] and time.monotonic() - last[0] > QUIET):
            await asyncio.sleep(0.1)

        async def see(script):
            return (await ask("Runtime.evaluate", tab, expression=script))["result"].get("value")

        picture = await ask("Page.captureScreenshot", tab)
        with open(shot, "wb") as file:
            file.write(base64.b64decode(picture["data"]))
        found = {"url": await see("location.href"), "title": await see("document.title"), "text": await see("document.body.innerText"), "password": await see("!!document.querySelector('[type=password]')"), "steps": steps}
        found["cookies"] = [it["name"] for it in (await ask("Network.getCookies", tab))["cookies"]]
        await ask("Browser.close")
        listening.cancel()
        return found


def main(url, shot, *options):
    with tempfile.TemporaryDirectory(prefix="gate-browser-", ignore_cleanup_errors=True) as profile:
        browser = subprocess.Popen([BROWSER, *FLAGS, f"--user-data-dir={profile}", "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port = None
            for _ in range(300):
                try:
                    port, path = open(f"{profile}/DevToolsActivePort").read().split("\n")[:2]
                    break
                except (OSError, ValueError):
                    time.sleep(0.1)
            if not port:
                sys.exit(f"{BROWSER} did not start")
            print(json.dumps(asyncio.run(walk(f"ws://127.0.0.1:{port}{path}", url, shot, options))))
        finally:
            try:
                browser.wait(5)
            except subprocess.TimeoutExpired:
                browser.kill()
                browser.wait()


main(*sys.argv[1:])
