"""Plays one scenario against a server and compares each answer with the recorded one.

A scenario is NAME.jsonl, one step a line, played in order against a server without leftovers of an earlier run:
  id      unique in the file
  m, p    method and path; ${var} is replaced by a saved value
  h       request headers (default Accept: application/json); with Authorization in them the step goes without the
          kubeconfig's credentials, and with an empty Authorization it goes anonymously
  b       body: a JSON value, or a string sent as it is; ct its content type (default application/json)
  b64     body as base64 (protobuf)
  save    {var: dotted.path} taken from the answer, for later steps
  until   {path, eq|exists|absent} repeats a GET until it holds, then takes that answer
  events  read a watch stream until this many events or `wait` seconds (default 5); the body is the list of events
  mask    dotted paths or bare key names whose values may differ, on top of the usual ones
  note    why the step exists
An answer is {id, status, headers, body} with uids, revisions, times and the like masked.
"""
import base64
import json
import re
import ssl
import time

MASKED_KEYS = {'uid', 'resourceVersion', 'creationTimestamp', 'deletionTimestamp', 'time', 'lastTransitionTime',
               'lastUpdateTime', 'lastTimestamp', 'firstTimestamp', 'eventTime', 'startTime', 'completionTime',
               'expirationTimestamp', 'renewTime', 'acquireTime', 'continue'}
COMPARED_HEADERS = ('content-type', 'warning', 'location', 'allow', 'retry-after', 'content-encoding')
UUID = re.compile(r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}')
TIME = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)')
UNTIL_MAX_SECONDS = 20
# The same for steps that need not be equal: what does become true here does so at once.
UNTIL_MAX_SECONDS_OUT_OF_SCOPE = 4
# What a server says of a resource it does not have: waiting for it is in vain.
NO_SUCH_RESOURCE = 'the server could not find the requested resource'


def read_steps(path):
    """The steps of a scenario file."""
    with open(path, encoding='utf8') as file:
        steps = [json.loads(line) for line in file if line.strip() and not line.startswith('#')]
    ids = [step['id'] for step in steps]
    assert len(ids) == len(set(ids)), f'{path}: an id stands twice'
    return steps


def read_answers(path):
    """The recorded answers of a scenario, by step id."""
    with open(path.removesuffix('.jsonl') + '.answers.jsonl', encoding='utf8') as file:
        return {answer['id']: answer for answer in map(json.loads, file)}


def play(server, step, variables, until_max_seconds=UNTIL_MAX_SECONDS):
    """Sends one step and gives its masked answer; saved values go into `variables`."""
    step = {**step, **substitute({key: step[key] for key in ('p', 'b', 'h') if key in step}, variables)}
    headers = {'Accept': 'application/json', 'User-Agent': 'replay/1', **step.get('h', {})}
    body = request_body(step)
    if body is not None:
        headers.setdefault('Content-Type', step.get('ct', 'application/json'))
    deadline = time.monotonic() + until_max_seconds
    while True:
        response, data = exchange(server, step, headers, body)
        if 'until' not in step or holds(step['until'], data) or time.monotonic() > deadline:
            break
        if isinstance(data, dict) and data.get('message') == NO_SUCH_RESOURCE:
            break
        time.sleep(0.1)
    for name, path in step.get('save', {}).items():
        found = dig(data, path)
        variables[name] = '' if found is None else found
    return masked_answer(step, response, data)


def request_body(step):
    if 'b64' in step:
        return base64.b64decode(step['b64'])
    if 'b' not in step:
        return None
    return step['b'].encode() if isinstance(step['b'], str) else json.dumps(step['b']).encode()


def exchange(server, step, headers, body):
    if 'events' not in step:
        response = server.send(step['m'], step['p'], headers, body)
        return response, read_body(response)
    server.close()
    response = server.send(step['m'], step['p'], headers, body, timeout=step.get('wait', 5))
    data = read_events(response, step['events']) if response.status == 200 else read_body(response)
    server.close()
    return response, data


def read_events(response, count):
    events = []
    try:
        while len(events) < count and (line := response.readline()):
            events.append(json.loads(line))
    except (TimeoutError, ssl.SSLError):
        pass
    return events


def read_body(response):
    raw = response.read()
    kind = response.headers.get('content-type') or ''
    if kind.startswith('application/json') and response.headers.get('content-encoding') is None:
        try:
            return json.loads(raw)
        except ValueError:
            return {'<not json>': raw[:400].decode('utf8', 'replace')}
    # The index of /openapi/v3 is JSON under text/plain.
    if raw[:1] == b'{' and kind.startswith('text/plain'):
        try:
            return json.loads(raw)
        except ValueError:
            pass
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {'<bytes>': len(raw)}


def holds(until, data):
    found = dig(data, until['path'])
    if 'eq' in until:
        return found == until['eq']
    return (found is not None) == ('exists' in until)


def masked_answer(step, response, data):
    extra = set(step.get('mask', []))
    headers = {key: value for key in COMPARED_HEADERS if (value := response.headers.get(key)) is not None}
    if warnings := response.headers.get_all('warning'):
        headers['warning'] = warnings
    if '*body' in extra:
        data = '<any>'
    return {'id': step['id'], 'status': response.status, 'headers': mask(headers, extra), 'body': mask(data, extra)}


def dig(tree, path):
    """The value at a dotted path, or None."""
    for key in path.split('.'):
        if isinstance(tree, list):
            number = key.lstrip('-').isdigit() and -len(tree) <= int(key) < len(tree)
            tree = tree[int(key)] if number else None
        elif isinstance(tree, dict):
            tree = tree.get(key)
        else:
            return None
    return tree


def substitute(tree, variables):
    """The tree with ${var} replaced, in keys too."""
    if isinstance(tree, str):
        return re.sub(r'\$\{(\w+)\}', lambda match: str(variables.get(match[1], match[0])), tree)
    if isinstance(tree, list):
        return [substitute(item, variables) for item in tree]
    if isinstance(tree, dict):
        return {substitute(key, variables): substitute(value, variables) for key, value in tree.items()}
    return tree


def mask(tree, extra, path=''):
    """The tree with everything that differs between two runs replaced by a word."""
    if isinstance(tree, dict):
        masked = {}
        for key, value in tree.items():
            here = f'{path}.{key}' if path else key
            masked[key] = '<any>' if is_masked(key, here, value, extra) else mask(value, extra, here)
        return masked
    if isinstance(tree, list):
        paths = [f'{path}.{at}' if path else str(at) for at in range(len(tree))]
        return ['<any>' if here in extra else mask(value, extra, here) for here, value in zip(paths, tree)]
    return TIME.sub('<time>', UUID.sub('<uuid>', tree)) if isinstance(tree, str) else tree


def is_masked(key, path, value, extra):
    # Column descriptions of tables are documentation, worded anew here.
    described = key == 'description' and '.columnDefinitions.' in f'.{path}'
    usual = key in MASKED_KEYS and isinstance(value, (str, int)) and value not in ('', '0', 0)
    return key in extra or path in extra or described or usual


def differences(want, got, path=''):
    """Every difference between two masked trees, a line each."""
    numbers = isinstance(want, (int, float)) and isinstance(got, (int, float))
    if type(want) is not type(got) and not numbers:
        return [f'{path}: want {short(want)} got {short(got)}']
    if isinstance(want, dict):
        found = []
        for key in sorted(want.keys() | got.keys()):
            here = f'{path}.{key}'
            if key not in got:
                found.append(f'{here}: missing, want {short(want[key])}')
            elif key not in want:
                found.append(f'{here}: extra {short(got[key])}')
            else:
                found += differences(want[key], got[key], here)
        return found
    if isinstance(want, list):
        found = [] if len(want) == len(got) else [f'{path}: want {len(want)} items got {len(got)}']
        for at, (one, other) in enumerate(zip(want, got)):
            found += differences(one, other, f'{path}[{at}]')
        return found
    return [] if want == got else [f'{path}: want {short(want)} got {short(got)}']


def short(tree):
    return json.dumps(tree)[:220]
