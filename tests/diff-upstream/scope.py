"""Which recorded steps must be equal today. Decides by the request and upstream's answer, never by ours."""
from player import NO_SUCH_RESOURCE

# Files whose steps must be equal, apart from what stands in accepted.tsv; the others are counted.
BINDING_FILES = ('01-objects', '02-errors', '03-patches', '04-lists-watches')

# GROUP/PLURAL of what is served; the core group has no name.
SERVED = {
    '/namespaces', '/nodes', '/pods', '/configmaps', '/secrets', '/serviceaccounts', '/services', '/endpoints',
    '/persistentvolumes', '/persistentvolumeclaims', '/resourcequotas', '/limitranges', '/componentstatuses',
    'scheduling.k8s.io/priorityclasses', 'node.k8s.io/runtimeclasses', 'storage.k8s.io/storageclasses',
    'storage.k8s.io/csidrivers', 'storage.k8s.io/csinodes', 'storage.k8s.io/csistoragecapacities',
    'storage.k8s.io/volumeattachments', 'storage.k8s.io/volumeattributesclasses',
    '/events', '/podtemplates', 'events.k8s.io/events', 'discovery.k8s.io/endpointslices',
    'coordination.k8s.io/leases', 'apps/deployments', 'apps/replicasets',
    'apps/statefulsets', 'apps/daemonsets', 'apps/controllerrevisions', '/replicationcontrollers', 'batch/jobs',
    'batch/cronjobs', 'autoscaling/horizontalpodautoscalers', 'policy/poddisruptionbudgets',
    'rbac.authorization.k8s.io/roles', 'rbac.authorization.k8s.io/clusterroles',
    'rbac.authorization.k8s.io/rolebindings', 'rbac.authorization.k8s.io/clusterrolebindings',
    'authentication.k8s.io/tokenreviews', 'authentication.k8s.io/selfsubjectreviews',
    'authorization.k8s.io/subjectaccessreviews', 'authorization.k8s.io/localsubjectaccessreviews',
    'authorization.k8s.io/selfsubjectaccessreviews', 'authorization.k8s.io/selfsubjectrulesreviews',
    'networking.k8s.io/ingresses', 'networking.k8s.io/ingressclasses', 'networking.k8s.io/networkpolicies',
    'networking.k8s.io/ipaddresses', 'networking.k8s.io/servicecidrs',
    'certificates.k8s.io/certificatesigningrequests',
    'flowcontrol.apiserver.k8s.io/flowschemas', 'flowcontrol.apiserver.k8s.io/prioritylevelconfigurations',
    'resource.k8s.io/deviceclasses', 'resource.k8s.io/resourceclaims', 'resource.k8s.io/resourceclaimtemplates',
    'resource.k8s.io/resourceslices',
}
NAMESPACE_SUBRESOURCES = ('status', 'finalize')


def resource_of(path):
    """GROUP/PLURAL a path is about, or None for paths of no resource (discovery, health, openapi)."""
    parts = [part for part in path.split('?')[0].split('/') if part]
    if parts[:1] == ['api'] and len(parts) > 2:
        group, rest = '', parts[2:]
    elif parts[:1] == ['apis'] and len(parts) > 3:
        group, rest = parts[1], parts[3:]
    else:
        return None
    if rest[0] == 'watch' and len(rest) > 1:
        rest = rest[1:]
    if rest[0] == 'namespaces' and len(rest) > 2 and rest[2] not in NAMESPACE_SUBRESOURCES:
        rest = rest[2:]
    return f'{group}/{rest[0]}'


def out_of_scope(steps, answers):
    """{step id: why it need not be equal yet} for a binding file."""
    return {step['id']: 'kind not served' for step in steps if not is_served(step, answers[step['id']])}


def is_served(step, answer):
    resource = resource_of(step['p'])
    body = answer['body']
    unknown_upstream = answer['status'] == 404 and (
        isinstance(body, str) or isinstance(body, dict) and body.get('message') == NO_SUCH_RESOURCE)
    return resource is None or resource in SERVED or unknown_upstream
