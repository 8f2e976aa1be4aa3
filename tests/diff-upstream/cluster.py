"""One `kontiki dev` for as long as a test takes. Starts the process and ends it; says where its kubeconfig is."""
import contextlib
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LOG_LINES_SHOWN = 30


def program():
    """The kontiki to test: $KONTIKI, else the debug build."""
    target = os.environ.get('CARGO_TARGET_DIR', os.path.join(ROOT, 'target'))
    return os.environ.get('KONTIKI') or os.path.join(target, 'debug', 'kontiki')


@contextlib.contextmanager
def dev():
    """The kubeconfig's path of a fresh server."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([program(), 'dev'], stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            line = process.stdout.readline()
            if not line.startswith('KUBECONFIG='):
                raise SystemExit(f'kontiki dev did not get ready: {line!r}\n{tail(log)}')
            yield line.removeprefix('KUBECONFIG=').split()[0]
            if process.poll() is not None:
                print(f'kontiki dev ended by itself with {process.returncode}\n{tail(log)}', file=sys.stderr)
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def tail(log):
    log.seek(0)
    return b'\n'.join(log.read().splitlines()[-LOG_LINES_SHOWN:]).decode('utf8', 'replace')
