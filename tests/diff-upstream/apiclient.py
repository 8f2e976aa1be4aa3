"""Where an API server is and how to speak to it: reads a kubeconfig, keeps one connection. Judges no answer."""
import base64
import http.client
import json
import os
import ssl
import tempfile
from urllib.parse import urlsplit


def parse_config(text):
    """The tree of a kubeconfig: JSON, or the part of YAML kubeconfigs are written in (block maps, lists, scalars)."""
    if text.lstrip().startswith('{'):
        return json.loads(text)
    lines = [(len(line) - len(line.lstrip()), line.strip()) for line in text.splitlines()
             if line.strip() and not line.lstrip().startswith('#')]
    return _block(lines, 0, lines[0][0])[0]


def _block(lines, at, indent):
    tree = [] if lines[at][1].startswith('- ') else {}
    while at < len(lines) and lines[at][0] == indent:
        line = lines[at][1]
        if isinstance(tree, list):
            if not line.startswith('- '):
                break
            lines[at] = (indent + 2, line[2:])
            item, at = _block(lines, at, indent + 2)
            tree.append(item)
            continue
        if line.startswith('- '):
            break
        key, _, value = line.partition(':')
        at += 1
        if value.strip():
            tree[key] = _scalar(value.strip())
        elif at < len(lines) and (lines[at][0] > indent or lines[at][1].startswith('- ')):
            tree[key], at = _block(lines, at, lines[at][0])
        else:
            tree[key] = None
    return tree, at


def _scalar(text):
    if text[:1] in '"{[':
        return json.loads(text)
    return text[1:-1].replace("''", "'") if text[:1] == "'" else text


class Server:
    """One keep-alive connection as the kubeconfig's user, or without its credentials for steps that bring their own."""

    def __init__(self, path):
        with open(path, encoding='utf8') as file:
            config = parse_config(file.read())
        named = {key: {entry['name']: entry for entry in config[key]} for key in ('clusters', 'users', 'contexts')}
        context = named['contexts'][config['current-context']]['context']
        cluster = named['clusters'][context['cluster']]['cluster']
        user = named['users'][context['user']]['user']
        self.url = urlsplit(cluster['server'])
        self.token = user.get('token')
        authority = base64.b64decode(cluster['certificate-authority-data']).decode()
        self.known, self.bare = (ssl.create_default_context(cadata=authority) for _ in range(2))
        for tls in (self.known, self.bare):
            tls.check_hostname = 'tls-server-name' not in cluster
        if 'client-certificate-data' in user:
            self._load_client(user)
        self.connection, self.own_credentials = None, False

    def _load_client(self, user):
        with tempfile.TemporaryDirectory() as folder:
            for part in ('certificate', 'key'):
                with open(os.path.join(folder, part), 'wb') as file:
                    file.write(base64.b64decode(user[f'client-{part}-data']))
            self.known.load_cert_chain(os.path.join(folder, 'certificate'), os.path.join(folder, 'key'))

    def send(self, method, path, headers, body=None, timeout=60):
        """The answer's head; the caller reads its body. A header `Authorization` replaces the kubeconfig's
        credentials, client certificate included; an empty one means none at all."""
        own = 'Authorization' in headers
        if own != self.own_credentials:
            self.close()
            self.own_credentials = own
        headers = {key: value for key, value in headers.items() if (key, value) != ('Authorization', '')}
        if self.token and not own:
            headers['Authorization'] = 'Bearer ' + self.token
        for attempt in (1, 2):
            if self.connection is None:
                self.connection = http.client.HTTPSConnection(
                    self.url.hostname, self.url.port or 443, timeout=timeout, context=self.bare if own else self.known)
            try:
                self.connection.request(method, path, body=body, headers=headers)
                return self.connection.getresponse()
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
                # An idle connection may be closed under a request; a write is not sent twice.
                self.connection = None
                if attempt == 2 or method not in ('GET', 'DELETE'):
                    raise

    def close(self):
        """Drops the connection; the next request opens one."""
        if self.connection:
            self.connection.close()
        self.connection = None
