"""Sends what kubectl 1.32 and 1.33 were seen to send and looks for errors kubectl would not expect.

kubectl-requests.jsonl holds one request a line ({m, p, h, ua, b}; WSFRAME and WSEND lines are what followed an upgrade
and are not sent). The requests come from many commands and not from one session, so the objects they name are made
again before each. A step's id is the line's number, three digits.

No error: a status below 400; 404 of a kind not served; 409 of a create or of a stale resourceVersion; 400 of a body
that is not JSON, 422 of a JSON patch without operations; 403 for deleting a namespace that must stay; 415 of a
server-side apply; 400 of a stream to a pod that no node runs. Anything else is unexpected.
"""
import gzip
import json
import os
import re
import time
from urllib.parse import parse_qs, urlsplit

import scope

NAME = 'kubectl-requests'
FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), NAME + '.jsonl')
# A watch has shown what it is when it has answered at all.
WATCH_SECONDS = 1
STREAMS = ('log', 'exec', 'attach', 'portforward')
SETTLE_MAX_SECONDS = 20

CONTAINER = {'name': 'c', 'image': 'busybox'}
WEB = {'matchLabels': {'app': 'web'}}


def pod(name, container):
    spec = {'containers': [{**CONTAINER, 'name': container}], 'terminationGracePeriodSeconds': 0}
    return ('/api/v1/namespaces/default/pods', {'metadata': {'name': name, 'labels': {'app': 'web'}}, 'spec': spec})


# A request for a certificate, as objects hold it.
CERTIFICATE_REQUEST = (
    'LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIS01ITUNBUUF3RVRFUE1BMEdBMVVFQXd3R2NtVndiR0Y1TUZr'
    'd0V3WUhLb1pJemowQ0FRWUlLb1pJemowRApBUWNEUWdBRWRYL1VUWjE3ait1N1FNQnJTNUd6L3o2a1BsalhocTFWMWRJT3c2ME9E'
    'YmNKTlhtMEVvSTF0OTA1CmpWV1BnTlBVUFU3dDQrV3lIbXBKUytoaEsydE05S0FBTUFvR0NDcUdTTTQ5QkFNQ0EwY0FNRVFDSUZI'
    'UitxU3UKYkRzZUl1UEtSTElDaUIrd0tRMUc0SzFzRmxpTTJMQVVDMkQ1QWlCakF2Q3lmVXdUbkxGTTl2RGtlbVJoNmpERwoyaTNB'
    'eCtCU1lSSkVGYjB5dUE9PQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K')

# Path of a named object: where it is created, and what.
FIXTURES = {f"{collection}/{body['metadata']['name']}": (collection, body) for collection, body in [
    ('/api/v1/nodes', {'metadata': {'name': 'n1'}}),
    ('/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases', {'metadata': {'name': 'n1'}}),
    pod('p1', 'c'), pod('r1', 'r1'), pod('r2', 'r2'),
    ('/api/v1/namespaces/default/configmaps', {'metadata': {'name': 'cm1'}, 'data': {'a': 'b'}}),
    ('/api/v1/namespaces/default/configmaps', {'metadata': {'name': 'cm2'}, 'data': {'a': 'b'}}),
    ('/api/v1/namespaces/default/configmaps', {'metadata': {'name': 'cm3'}, 'data': {'a': 'b'}}),
    ('/api/v1/namespaces/default/configmaps', {'metadata': {'name': 'cm9'}, 'data': {'a': 'b'}}),
    ('/apis/certificates.k8s.io/v1/certificatesigningrequests', {'metadata': {'name': 'csr1'}, 'spec': {
        'request': CERTIFICATE_REQUEST, 'signerName': 'example.com/s', 'usages': ['client auth']}}),
    ('/api/v1/namespaces/default/services', {'metadata': {'name': 'web'}, 'spec': {'ports': [{'port': 80}]}}),
    ('/apis/apps/v1/namespaces/default/deployments', {'metadata': {'name': 'web'}, 'spec': {
        'replicas': 1, 'selector': WEB, 'template': {
            'metadata': {'labels': {'app': 'web'}}, 'spec': {'containers': [CONTAINER]}}}}),
    ('/apis/apps/v1/namespaces/default/statefulsets', {'metadata': {'name': 'none'}, 'spec': {
        'replicas': 0, 'serviceName': 'none', 'selector': WEB, 'template': {
            'metadata': {'labels': {'app': 'web'}}, 'spec': {'containers': [CONTAINER]}}}}),
    ('/apis/batch/v1/namespaces/default/cronjobs', {'metadata': {'name': 'cj'}, 'spec': {
        'schedule': '0 0 1 1 *', 'jobTemplate': {'spec': {'template': {
            'spec': {'containers': [CONTAINER], 'restartPolicy': 'Never'}}}}}}),
]}


def check(server):
    """[{id, request, diff, out}] as a scenario's."""
    with open(FILE, encoding='utf8') as file:
        lines = list(enumerate(map(json.loads, file), 1))
    settle(server)
    results = []
    for number, request in lines:
        if request['m'] in ('WSFRAME', 'WSEND'):
            continue
        target = request['p'].split('?')[0]
        try:
            make_fixture(server, target)
            wrong = unexpected(request, *send(server, request))
            lift_quotas(server, request, target)
        except Exception as error:
            wrong = f'no answer: {type(error).__name__}: {error}'
            server.close()
        results.append({'id': f'{number:03}', 'request': f"{request['m']} {request['p']}",
                        'diff': [wrong] if wrong else [], 'out': None})
    return results


def settle(server):
    """Pods need the service account of their namespace, which a controller makes."""
    deadline = time.monotonic() + SETTLE_MAX_SECONDS
    while time.monotonic() < deadline:
        response = server.send('GET', '/api/v1/namespaces/default/serviceaccounts/default', {})
        response.read()
        if response.status == 200:
            return
        time.sleep(0.1)


def make_fixture(server, target):
    for path, (collection, body) in FIXTURES.items():
        if target == path or target.startswith(path + '/'):
            wait_until_gone(server, path)
            response = server.send('POST', collection, {'Content-Type': 'application/json'}, json.dumps(body).encode())
            answer = response.read()
            if response.status not in (201, 409):
                raise RuntimeError(f'cannot create {path}: {answer[:300]!r}')


def lift_quotas(server, request, target):
    """A quota made by one of many commands is not for the objects the others name."""
    if request['m'] == 'POST' and target.endswith('/resourcequotas'):
        server.send('DELETE', target, {}).read()


def wait_until_gone(server, path):
    """An object an earlier request let go may still wait for its dependents; it would vanish under the next request."""
    deadline = time.monotonic() + SETTLE_MAX_SECONDS
    while time.monotonic() < deadline:
        response = server.send('GET', path, {})
        answer = response.read()
        if response.status != 200 or 'deletionTimestamp' not in json.loads(answer)['metadata']:
            return
        time.sleep(0.05)


def send(server, request):
    headers = {**request['h'], 'User-Agent': request['ua']}
    watching = 'watch' in parse_qs(urlsplit(request['p']).query) or 'follow' in request['p']
    upgrading = 'Upgrade' in headers
    if upgrading:
        headers.update({'Connection': 'Upgrade', 'Sec-WebSocket-Version': '13',
                        'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA=='})
    # The revisions and hashes are another server's: revision 0 is any, and an unknown hash is redirected.
    path = re.sub(r'resourceVersion=\d+', 'resourceVersion=0', request['p'])
    body = request['b'].encode() if request['b'] else None
    if watching or upgrading:
        server.close()
    response = server.send(request['m'], path, headers, body, timeout=WATCH_SECONDS if watching else 60)
    raw = b''
    if not (watching and response.status == 200) and response.status != 101:
        raw = response.read()
        if response.headers.get('content-encoding') == 'gzip':
            raw = gzip.decompress(raw)
    if watching or upgrading:
        server.close()
    return response.status, raw


def unexpected(request, status, raw):
    """What is wrong with an answer, or None."""
    path = request['p'].split('?')[0]
    stream = path.rsplit('/', 1)[-1] in STREAMS
    resource = scope.resource_of(path)
    allowed = (
        status < 400
        or (status == 404 and resource is not None and resource not in scope.SERVED)
        or (status == 409 and (request['m'] == 'POST' or '"resourceVersion":"' in request['b']))
        or (status in (400, 422) and request['b'] and not is_json(request))
        or (status == 403 and request['m'] == 'DELETE' and resource == '/namespaces')
        or (status == 415 and 'apply-patch' in request['h'].get('Content-Type', ''))
        or (status == 400 and stream and b'does not have a host assigned' in raw)
    )
    return None if allowed else f"{status}: {raw[:400].decode('utf8', 'replace')}"


def is_json(request):
    """Whether a body sent as JSON is JSON, and as a JSON patch a list of operations."""
    if 'protobuf' in request['h'].get('Content-Type', ''):
        # Kept as text, which bytes outside of UTF-8 did not survive.
        return '\ufffd' not in request['b']
    try:
        tree = json.loads(request['b'])
    except ValueError:
        return False
    return 'json-patch' not in request['h'].get('Content-Type', '') or all('op' in operation for operation in tree)
