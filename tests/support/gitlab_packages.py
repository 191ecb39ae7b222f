"""What gitlab.py keeps for package clients and terraform: each format's endpoints, as lib/api/*_packages.rb and
lib/api/terraform/state.rb answer them, in memory."""
import base64, hashlib, io, json, re, zipfile
from email.parser import BytesParser
from urllib.parse import unquote

STATES, LOCKS, PYPI, NPM, GENERIC, NUGET = {}, {}, {}, {}, {}, {}


def parts(content_type, data):
    """The parts of a multipart body: name -> (file name, bytes)."""
    whole = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + data)
    found = {}
    for part in whole.get_payload() if whole.is_multipart() else []:
        name = part.get_param("name", header="content-disposition")
        found[name] = (part.get_filename(), part.get_payload(decode=True))
    return found


def archive(files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as made:
        for name, text in files.items():
            made.writestr(name, text)
    return data.getvalue()


def terraform(method, name, lock, params, data):
    if lock:
        if method == "DELETE":
            return (200, {}) if LOCKS.pop(name, None) else (404, {})
        if name in LOCKS:
            return 409, LOCKS[name]
        LOCKS[name] = json.loads(data)
        return 200, LOCKS[name]
    if method == "POST":
        held = LOCKS.get(name, {}).get("ID")
        if held != params.get("ID"):
            return 409, {}
        STATES[name] = data
        return 200, {}
    return (200, STATES[name]) if name in STATES else (404, {})


def pypi(method, rest, url, headers, data):
    if method == "POST":
        got = parts(headers["Content-Type"], data)
        file, content = got["content"]
        if got["sha256_digest"][1].decode() != hashlib.sha256(content).hexdigest():
            return 400, {}
        PYPI[file] = (got["name"][1].decode(), content)
        return 201, {}
    if match := re.match(r"/simple/([^/]+)/?$", rest):
        links = "".join(f'<a href="{url}/files/{hashlib.sha256(data).hexdigest()}/{file}">{file}</a>' for file, (name, data) in PYPI.items() if name == match[1])
        return (200, f"<!DOCTYPE html><html><body>{links}</body></html>".encode()) if links else (404, {})
    file = rest.rsplit("/", 1)[-1]
    return (200, PYPI[file][1]) if file in PYPI else (404, {})


def npm(method, rest, url, data):
    name = unquote(rest.lstrip("/"))
    if method == "PUT":
        package = json.loads(data)
        version = next(iter(package["versions"].values()))
        tarball = base64.b64decode(next(iter(package["_attachments"].values()))["data"])
        file = f"{name}/-/{name}-{version['version']}.tgz"
        version["dist"]["tarball"] = f"{url}/{file}"
        NPM[name], NPM[file] = {"name": name, "dist-tags": package["dist-tags"], "versions": package["versions"]}, tarball
        return 200, {}
    return (200, NPM[name]) if name in NPM else (404, {"error": "404 Not Found"})


def composer(rest, url):
    if rest.startswith("/archives/"):
        return 200, archive({"composer.json": '{"name":"shop/lib"}', "lib.php": "<?php // by composer\n"})
    version = {"name": "shop/lib", "version": "1.0.0", "uid": 1, "dist": {"type": "zip", "url": f"{url}/api/v4/projects/20/packages/composer/archives/shop/lib.zip?sha=0a"}}
    return 200, {"packages": {"shop/lib": {"1.0.0": version}}}


def go(rest):
    module, what = rest.lstrip("/").split("/@v/")
    if what == "list":
        return 200, b"v1.0.0\n"
    if what.endswith(".info"):
        return 200, {"Version": "v1.0.0", "Time": "2026-01-01T00:00:00Z"}
    if what.endswith(".mod"):
        return 200, f"module {module}\n".encode()
    at = f"{module}@v1.0.0/"
    return 200, archive({at + "go.mod": f"module {module}\n", at + "lib.go": "package lib // by GOPROXY\n"})


def nuget(method, headers, data):
    if method == "PUT":
        NUGET["package"] = parts(headers["Content-Type"], data)
        return 201, {}
    return 200, {"version": "3.0.0"}


def answer(method, path, params, headers, data, url):
    """(status, body) of a package client's request, or None where it is none."""
    if match := re.match(r"/api/v4/projects/[^/]+/terraform/state/([^/]+)(/lock)?$", path):
        return terraform(method, match[1], match[2], params, data)
    match = re.match(r"(/api/v4/(?:projects|groups?)/[^/]+/(?:-/)?packages/(pypi|npm|composer|go|nuget|generic))(.*)", path)
    if not match:
        return None
    at, kind, rest = url + match[1], match[2], match[3]
    if kind == "pypi":
        return pypi(method, rest, at, headers, data)
    if kind == "npm":
        return npm(method, rest, at, data)
    if kind == "composer":
        return composer(rest, url)
    if kind == "go":
        return go(rest)
    if kind == "nuget":
        return nuget(method, headers, data)
    if method == "PUT":
        GENERIC[rest] = data
        return 201, {"message": "201 Created"}
    return (200, GENERIC[rest]) if rest in GENERIC else (404, {})
