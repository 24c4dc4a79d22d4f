"""A real nginx on a free loopback port, for as long as a measurement lasts."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

__all__ = ["serve"]

_CONFIG = """
daemon off;
worker_processes 1;
pid {root}/pid;
error_log {root}/error.log;
{modules}
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    client_body_temp_path {root}/t; proxy_temp_path {root}/t; fastcgi_temp_path {root}/t;
    uwsgi_temp_path {root}/t; scgi_temp_path {root}/t;
    types {{ image/jpeg jpg; }}
    open_file_cache max=10000;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        root {files};
        location / {{ {delay} }}
        location @file {{ }}
    }}
}}
"""


@contextlib.contextmanager
def serve(files: Path, latency: float = 0.0) -> Iterator[str]:
    """Serve a folder; every answer waits `latency` seconds (needs Debian's libnginx-mod-http-echo).

    Yields:
        The base URL.
    """
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if nginx is None:
        raise SystemExit("nginx is needed: apt-get install nginx-light")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    root = tempfile.mkdtemp(prefix="bench-nginx-")
    os.chmod(root, 0o755)  # its worker is another user
    module = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")
    if latency and not module.exists():
        raise SystemExit("latency needs apt-get install libnginx-mod-http-echo")
    config = _CONFIG.format(
        root=root,
        port=port,
        files=files,
        modules=f"load_module {module};" if latency else "",
        delay=f"echo_sleep {latency}; echo_exec @file;" if latency else "",
    )
    Path(root, "nginx.conf").write_text(config)
    process = subprocess.Popen(
        [nginx, "-p", root, "-c", f"{root}/nginx.conf", "-g", f"user {_user()};"],
        stderr=subprocess.DEVNULL,
    )
    try:
        base = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"nginx did not start: {Path(root, 'error.log').read_text()}")
            time.sleep(0.02)
        yield base
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(root, ignore_errors=True)


def _user() -> str:
    """The files may lie where only this user can read them."""
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


if __name__ == "__main__":
    from dataflow.demo.photos import ensure_photos, photo_path

    with serve(ensure_photos(2), latency=0.05) as url:
        start = time.monotonic()
        with urllib.request.urlopen(f"{url}/{photo_path(0)}") as answer:
            print(answer.status, len(answer.read()), f"{time.monotonic() - start:.3f} s")
