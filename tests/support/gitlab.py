#!/usr/bin/env python3
"""A small stand-in of GitLab: what it asks of a credential, not what it does with it.

  gitlab.py PAT BASIC JOB-TOKEN REGISTRY-KEY REGISTRY-CERT

PAT is an administrator's with sudo; BASIC is what git and /jwt/auth are asked with. glpat-dana-1 is Dana's own. Answers
JSON as GitLab does; gitlab_packages.py holds what package clients and terraform ask for. 
POST /-/stand-in steers it: {"users": {NAME: {"id", "state", "username"}}, "mode": how it answers
GET /api/v4/users}; it answers with the number of these questions. Prints `listening ADDRESS` once it serves.
"""
import base64, hashlib, json, re, subprocess, sys, time, uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import gitlab_packages

PAT, BASIC, JOB, KEY, CERT = sys.argv[1:6]
USERS = {"dana": 7, "root": 1}
# GET /api/v4/users: what an administrator sees of others (lib/api/users.rb, lib/api/entities/user_basic.rb).
ACCOUNTS = {"dana": {"id": 7}, "root": {"id": 1}}
STEERED = {"mode": "", "questions": 0}
OBJECTS = {}
DANA = "glpat-dana-1"
# What GitLab hands an LFS client for the objects themselves, and takes for nothing else.
LFS = "Basic " + base64.b64encode(b"gate:lfs-token-1").decode()


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def registry_token(service, scopes):
    """What the registry's token authentication takes: RS256, the certificate in x5c."""
    der = base64.b64encode(subprocess.run(["openssl", "x509", "-in", CERT, "-outform", "DER"], capture_output=True, check=True).stdout).decode()
    access = []
    for scope in scopes:
        kind, name, actions = scope.split(":")
        access.append({"type": kind, "name": name, "actions": actions.split(",")})
    now = int(time.time())
    claims = {"iss": "gitlab-issuer", "sub": "x", "aud": service, "exp": now + 300, "nbf": now - 5, "iat": now, "jti": str(uuid.uuid4()), "access": access}
    text = b64(json.dumps({"alg": "RS256", "typ": "JWT", "x5c": [der]}).encode()) + "." + b64(json.dumps(claims).encode())
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", KEY], input=text.encode(), capture_output=True, check=True).stdout
    return text + "." + b64(signature)


def lfs_batch(batch, url):
    """As app/controllers/repositories/lfs_api_controller.rb answers: a credential of GitLab's own with each object."""
    for it in batch["objects"]:
        header = {"Authorization": LFS}
        if batch["operation"] == "upload":
            if it["oid"] not in OBJECTS:
                header |= {"Content-Type": "application/octet-stream", "Transfer-Encoding": "chunked"}
                it["actions"] = {"upload": {"href": f"{url}/gitlab-lfs/objects/{it['oid']}/{it['size']}", "header": header}}
        elif it["oid"] in OBJECTS:
            it["actions"] = {"download": {"href": f"{url}/gitlab-lfs/objects/{it['oid']}", "header": header}}
        else:
            it["error"] = {"code": 404, "message": "Object does not exist on the server or you don't have permissions to access it"}
    return batch["objects"]


class GitLab(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def say(self, status, body, **fields):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if data.startswith((b"<html", b"<!DOCTYPE")) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            data = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def user(self, params):
        """Who it is, as lib/api/helpers.rb finds it: a token, then sudo."""
        token = params.get("private_token") or self.headers.get("PRIVATE-TOKEN")
        bearer = self.headers.get("Authorization", "")
        if bearer.startswith("Bearer "):
            token = bearer[7:]
        if token == DANA or self.headers.get("JOB-TOKEN") == JOB:
            return "dana"
        if token != PAT:
            return None
        name = params.get("sudo") or self.headers.get("Sudo") or "root"
        return next((user for user, number in USERS.items() if name in (user, str(number))), "")

    def users(self, params):
        """GET /users?username=: the one account of that name, without case, or an empty list."""
        STEERED["questions"] += 1
        mode, name = STEERED["mode"], params.get("username", "")
        if mode.isdigit():
            return self.say(int(mode), {"message": f"{mode} it is"}, **({"Location": "/api/v4/other"} if mode[0] == "3" else {}))
        if mode == "hang":
            time.sleep(30)
        if mode in ("html", "garbage"):
            return self.say(200, b"<!doctype html><title>Sign in</title>" if mode == "html" else b'[{"id":7,')
        found = [(key, it) for key, it in ACCOUNTS.items() if key == name.lower()]
        if mode == "other":
            found = [("eve", {"id": 99})]
        if mode == "two":
            found += [("eve", {"id": 99})]
        return self.say(200, [
            {"id": it["id"], "username": it.get("username", key), "public_email": None, "name": key.title(), "state": it.get("state", "active"), "locked": False, "avatar_url": None, "web_url": f"/{key}"}
            for key, it in found
        ])

    def answer(self):
        target = urlsplit(self.path)
        path = unquote(target.path)
        params = {name: values[-1] for name, values in parse_qs(target.query).items()}
        data = self.body()
        url = f"{self.headers.get('X-Forwarded-Proto', 'http')}://{self.headers['Host']}"
        if params.get("go-get") == "1":  # lib/gitlab/middleware/go.rb
            at = self.headers["Host"] + "/".join(path.split("/")[:3])
            page = f'<html><head><meta name="go-import" content="{at} git {url}{path}.git"></head></html>'
            return self.say(200, page.encode())
        if path == "/api/graphql":  # app/controllers/graphql_controller.rb: a token that is none is 401, none at all is nobody
            user = self.user({})
            if user is None and ("Authorization" in self.headers or "PRIVATE-TOKEN" in self.headers):
                return self.say(401, {"errors": [{"message": "Invalid token"}]})
            return self.say(200, {"data": {"currentUser": user and {"username": user}}})
        if path == "/-/stand-in":
            spec = json.loads(data)
            ACCOUNTS.update(spec.get("users", {}))
            STEERED["mode"] = spec.get("mode", STEERED["mode"])
            return self.say(200, {"questions": STEERED["questions"]})
        if path == "/jwt/auth":
            if self.headers.get("Authorization") != BASIC:
                return self.say(401, {"errors": [{"code": "UNAUTHORIZED"}]}, WWW_Authenticate='Basic realm="GitLab"')
            return self.say(200, {"token": registry_token(params.get("service", ""), parse_qs(target.query).get("scope", []))})
        if path == "/api/v4/jobs/request":
            return self.say(204 if json.loads(data).get("token") == "runner-1" else 403, b"")
        if path == "/api/v4/job":
            job = self.headers.get("JOB-TOKEN") == JOB
            return self.say(200, {"id": 302, "status": "running"}) if job else self.say(401, {"message": "401 Unauthorized"})
        if path.startswith("/api/v4/"):
            user = self.user(params)
            if user is None:
                return self.say(401, {"message": "401 Unauthorized"})
            if not user:
                return self.say(404, {"message": "404 User with ID or username Not Found"})
            if path == "/api/v4/users":
                return self.users(params)
            if found := gitlab_packages.answer(self.command, path, params, self.headers, data, url):
                return self.say(*found)
            if path == "/api/v4/user":
                return self.say(200, {"id": USERS[user], "username": user})
            if path.startswith("/api/v4/projects/"):
                return self.say(200, {"id": 20, "path_with_namespace": path[17:], "raw": target.path})
            return self.say(404, {"message": "404 Not Found"})
        if match := re.match(r"(/.+\.git)/info/lfs/(objects/batch|locks/verify)$", path):
            if self.headers.get("Authorization") != BASIC:
                return self.say(401, {"message": "no"}, WWW_Authenticate='Basic realm="GitLab"')
            if match[2] == "locks/verify":
                return self.say(200, {"ours": [], "theirs": []})
            return self.say(200, {"objects": lfs_batch(json.loads(data), url + match[1])})
        if match := re.search(r"/gitlab-lfs/objects/([0-9a-f]{64})(?:/(\d+))?$", path):
            if self.headers.get_all("Authorization") != [LFS]:
                return self.say(401, {"message": "no"}, WWW_Authenticate='Basic realm="GitLab"')
            if self.command == "PUT":
                good = hashlib.sha256(data).hexdigest() == match[1] and len(data) == int(match[2])
                OBJECTS[match[1]] = data
                return self.say(200 if good else 400, {})
            return self.say(200, OBJECTS[match[1]]) if match[1] in OBJECTS else self.say(404, {})
        saw = {"method": self.command, "target": self.path, "headers": list(self.headers.items()), "body_bytes": len(data)}
        return self.say(200, saw)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer


server = ThreadingHTTPServer(("127.0.0.1", 0), GitLab)
server.daemon_threads = True
print(f"listening 127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
