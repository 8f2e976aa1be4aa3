"""What programs do with the official Python client, checked against the cluster that KUBECONFIG names.

Each check works in a namespace of its own and prints `ok NAME` or `FAILED NAME: why`.
"""

import asyncio
import os
import sys
import time
import traceback

import yaml
from kubernetes import client, config, dynamic, utils, watch
from kubernetes.aio import client as aio_client, config as aio_config
from kubernetes.client.exceptions import ApiException
from kubernetes.informer import ADDED, DELETED, MODIFIED, SharedInformer

# Nothing here takes as long in seconds: whatever does has hung.
PATIENCE = 60


def equal(what, got, want):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def until(what, holds):
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"not within {PATIENCE} s: {what}")
        time.sleep(0.05)


def refused(what, call, status, reason, words):
    """The call must fail with this status, reason and message."""
    try:
        call()
    except ApiException as error:
        body = yaml.safe_load(error.body)
        equal(f"{what}: status", error.status, status)
        equal(f"{what}: reason", body["reason"], reason)
        if words not in body["message"]:
            raise AssertionError(f"{what}: {body['message']!r} lacks {words!r}") from error
        return body
    raise AssertionError(f"{what}: nothing is refused")


def config_map(name, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"app": "test"}), data=data)


def deployment(name, replicas=0):
    labels = {"app": name}
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels),
        spec=client.V1PodSpec(containers=[client.V1Container(name="app", image="registry.example/app:1")]),
    )
    return client.V1Deployment(
        metadata=client.V1ObjectMeta(name=name, labels=labels),
        spec=client.V1DeploymentSpec(
            replicas=replicas, selector=client.V1LabelSelector(match_labels=labels), template=template
        ),
    )


def crud(namespace):
    """Objects are made, read, replaced, listed and deleted as typed objects."""
    apps = client.AppsV1Api()
    made = apps.create_namespaced_deployment(namespace, deployment("web"))
    equal("the default strategy", made.spec.strategy.type, "RollingUpdate")
    equal("a time is a time", made.metadata.creation_timestamp.tzinfo is not None, True)

    def replaced():
        current = apps.read_namespaced_deployment("web", namespace)
        current.spec.template.spec.containers[0].image = "registry.example/app:2"
        try:
            return apps.replace_namespaced_deployment("web", namespace, current)
        except ApiException as error:
            # The controller writes the status meanwhile.
            equal("a conflict and nothing else", error.status, 409)
            return replaced()

    equal("the generation", replaced().metadata.generation, made.metadata.generation + 1)
    scale = apps.read_namespaced_deployment_scale("web", namespace)
    equal("the scale's selector", scale.status.selector, "app=web")
    listed = apps.list_namespaced_deployment(namespace, label_selector="app=web")
    equal("listed", [item.metadata.name for item in listed.items], ["web"])
    apps.delete_namespaced_deployment("web", namespace, propagation_policy="Foreground")
    until("it is gone", lambda: not apps.list_namespaced_deployment(namespace).items)


def errors(namespace):
    """Failures are ApiExceptions with a status, a reason and upstream's words."""
    core = client.CoreV1Api()
    first = core.create_namespaced_config_map(namespace, config_map("one"))
    refused("missing", lambda: core.read_namespaced_config_map("two", namespace), 404, "NotFound",
            'configmaps "two" not found')
    refused("exists", lambda: core.create_namespaced_config_map(namespace, config_map("one")), 409,
            "AlreadyExists", 'configmaps "one" already exists')
    body = refused("invalid", lambda: core.create_namespaced_config_map(namespace, config_map("Not_A_Name")),
                   422, "Invalid", 'ConfigMap "Not_A_Name" is invalid: metadata.name: Invalid value: ')
    equal("the cause", [cause["field"] for cause in body["details"]["causes"]], ["metadata.name"])
    core.patch_namespaced_config_map("one", namespace, {"data": {"k": "v"}})
    first.data = {"k": "w"}
    refused("conflict", lambda: core.replace_namespaced_config_map("one", namespace, first), 409, "Conflict",
            "the object has been modified; please apply your changes to the latest version and try again")
    stranger = client.ApiClient(client.Configuration.get_default_copy(), header_name="Impersonate-User", header_value="joe")
    refused("forbidden", lambda: client.CoreV1Api(stranger).list_namespaced_secret(namespace), 403, "Forbidden",
            'secrets is forbidden: User "joe" cannot list resource "secrets" in API group "" in the namespace')
    refused("strict", lambda: client.CustomObjectsApi().create_namespaced_custom_object(
        "apps", "v1", namespace, "deployments",
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spek": {}},
        field_validation="Strict"), 400, "BadRequest", 'unknown field "spek"')


def patches(namespace):
    """A dictionary is a merge of some kind, a list a JSON patch; the content type can be said."""
    apps = client.AppsV1Api()
    apps.create_namespaced_deployment(namespace, deployment("web"))
    side = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "s:1"}]}}}}

    def names(body, content_type):
        patched = apps.patch_namespaced_deployment("web", namespace, body, _content_type=content_type)
        return [container.name for container in patched.spec.template.spec.containers]

    equal("strategic", names(side, "application/strategic-merge-patch+json"), ["side", "app"])
    equal("merge", names(side, "application/merge-patch+json"), ["side"])
    operations = [{"op": "replace", "path": "/spec/template/spec/containers/0/name", "value": "new"}]
    equal("JSON patch", names(operations, "application/json-patch+json"), ["new"])
    refused("a failing test", lambda: names([{"op": "test", "path": "/spec/replicas", "value": 5}],
                                            "application/json-patch+json"), 422, "Invalid", "")


def apply(namespace):
    """The dynamic client applies; a second owner of a field conflicts and may force."""
    api = dynamic.DynamicClient(client.ApiClient())
    config_maps = api.resources.get(api_version="v1", kind="ConfigMap")
    equal("discovered", (config_maps.name, config_maps.namespaced, "watch" in config_maps.verbs), ("configmaps", True, True))

    def applied(manager, value, **more):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"k": value}}
        return config_maps.server_side_apply(body, name="one", namespace=namespace, field_manager=manager, **more)

    first = applied("one", "1")
    equal("the owner", [entry.manager for entry in first.metadata.managedFields], ["one"])
    try:
        applied("two", "2")
        raise AssertionError("two owners of a value do not conflict")
    except dynamic.exceptions.ConflictError as error:
        causes = yaml.safe_load(error.body)["details"]["causes"]
        equal("causes", [(cause["reason"], cause["field"], cause["message"]) for cause in causes],
              [("FieldManagerConflict", ".data.k", 'conflict with "one"')])
    equal("forced", applied("two", "2", force_conflicts=True).data.k, "2")
    for event in config_maps.watch(namespace=namespace, timeout=10, resource_version=first.metadata.resourceVersion):
        equal("a watched change", (event["type"], event["object"].data.k), ("MODIFIED", "2"))
        break


def from_yaml(namespace):
    """Files with several objects are created, and say which exist already."""
    documents = yaml.safe_load_all(f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: filed, namespace: {namespace}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {{name: nightly, namespace: {namespace}}}
spec:
  schedule: "0 3 * * *"
  jobTemplate: {{spec: {{template: {{spec: {{restartPolicy: Never, containers: [{{name: a, image: b}}]}}}}}}}}
""")
    documents = list(documents)
    utils.create_from_yaml(client.ApiClient(), yaml_objects=documents)
    job = client.BatchV1Api().read_namespaced_cron_job("nightly", namespace)
    equal("a default", job.spec.concurrency_policy, "Allow")
    try:
        utils.create_from_yaml(client.ApiClient(), yaml_objects=documents)
        raise AssertionError("what exists is created again")
    except utils.FailToCreateError as error:
        equal("statuses", [one.status for one in error.api_exceptions], [409, 409])


def watches(namespace):
    """A watch resumes at a revision, sees each change once, and a revision of the far future says nothing."""
    core = client.CoreV1Api()
    start = core.list_namespaced_config_map(namespace).metadata.resource_version
    core.create_namespaced_config_map(namespace, config_map("one", k="1"))
    core.patch_namespaced_config_map("one", namespace, {"data": {"k": "2"}})
    core.delete_namespaced_config_map("one", namespace)
    seen = []
    stream = watch.Watch()
    for event in stream.stream(core.list_namespaced_config_map, namespace, resource_version=start,
                               label_selector="app=test", timeout_seconds=5):
        seen.append((event["type"], event["object"].data["k"]))
        if event["type"] == "DELETED":
            stream.stop()
    equal("events", seen, [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")])
    pages, token = [], None
    for number in range(5):
        core.create_namespaced_config_map(namespace, config_map(f"page-{number}"))
    while True:
        page = core.list_namespaced_config_map(namespace, limit=2, label_selector="app=test", _continue=token)
        pages.append([item.metadata.name for item in page.items])
        token = page.metadata._continue
        if not token:
            break
    equal("pages", pages, [["page-0", "page-1"], ["page-2", "page-3"], ["page-4"]])


def informer(namespace):
    """The client's own informer keeps a cache and tells what changed."""
    core, told = client.CoreV1Api(), []
    core.create_namespaced_config_map(namespace, config_map("before"))
    shared = SharedInformer(core.list_namespaced_config_map, namespace=namespace, label_selector="app=test")
    for kind in (ADDED, MODIFIED, DELETED):
        shared.add_event_handler(kind, lambda object, kind=kind: told.append((kind, object.metadata.name)))
    shared.start()
    until("the state is told", lambda: (ADDED, "before") in told)
    core.create_namespaced_config_map(namespace, config_map("after"))
    core.patch_namespaced_config_map("before", namespace, {"data": {"k": "v"}})
    core.delete_namespaced_config_map("after", namespace)
    until("the deletion is told", lambda: (DELETED, "after") in told)
    shared.stop()
    # The first list and the watch after it may both tell of what was there before.
    equal("told", [one for one in told if one != (ADDED, "before")],
          [(ADDED, "after"), (MODIFIED, "before"), (DELETED, "after")])
    equal("cached", [object.metadata.name for object in shared.cache.list()], ["before"])


def tokens(namespace):
    """A token of an account is asked for and used."""
    core = client.CoreV1Api()
    core.create_namespaced_service_account(namespace, client.V1ServiceAccount(metadata=client.V1ObjectMeta(name="robot")))
    request = client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=600))
    token = core.create_namespaced_service_account_token("robot", namespace, request).status.token
    setup = client.Configuration.get_default_copy()
    # The copy would go on to ask the kubeconfig who it is.
    setup.cert_file = setup.key_file = setup.refresh_api_key_hook = None
    setup.api_key = {"authorization": "Bearer " + token}
    robot = client.ApiClient(setup)
    review = client.AuthenticationV1Api(robot).create_self_subject_review(client.V1SelfSubjectReview())
    equal("who", review.status.user_info.username, f"system:serviceaccount:{namespace}:robot")
    refused("without a role", lambda: client.CoreV1Api(robot).list_namespaced_pod(namespace), 403, "Forbidden",
            f'pods is forbidden: User "system:serviceaccount:{namespace}:robot" cannot list resource "pods"')
    review = client.V1SelfSubjectAccessReview(spec=client.V1SelfSubjectAccessReviewSpec(
        resource_attributes=client.V1ResourceAttributes(namespace=namespace, verb="list", resource="pods")))
    answer = client.AuthorizationV1Api(robot).create_self_subject_access_review(review)
    equal("a review of it", answer.status.allowed, False)


def discovery(_):
    """The groups that clients look for are there, and the version is ours."""
    equal("version", client.VersionApi().get_code().minor, "36")
    groups = {group.name: group.preferred_version.version for group in client.ApisApi().get_api_versions().groups}
    equal("autoscaling", groups["autoscaling"], "v2")
    equal("batch", groups["batch"], "v1")
    names = {resource.name for resource in client.CoreV1Api().get_api_resources().resources}
    equal("in core", {"pods", "pods/exec", "services", "serviceaccounts/token"} - names, set())


def asynchronous(namespace):
    """The asynchronous client sends several requests at once over one session."""

    async def play():
        await aio_config.load_kube_config()
        async with aio_client.ApiClient() as api:
            core = aio_client.CoreV1Api(api)

            def create(name):
                body = aio_client.V1ConfigMap(metadata=aio_client.V1ObjectMeta(name=name, labels={"app": "test"}))
                return core.create_namespaced_config_map(namespace, body)

            answers = await asyncio.gather(*map(create, "abcab"), return_exceptions=True)
            listed = await core.list_namespaced_config_map(namespace, label_selector="app=test")
            return answers, [item.metadata.name for item in listed.items]

    answers, listed = asyncio.run(play())
    conflicts = [answer.status for answer in answers if isinstance(answer, aio_client.ApiException)]
    equal("names taken already", conflicts, [409, 409])
    equal("created", listed, ["a", "b", "c"])


CHECKS = [discovery, crud, errors, patches, apply, from_yaml, watches, informer, tokens, asynchronous]


def main():
    config.load_kube_config()
    core, failed = client.CoreV1Api(), False
    for check in CHECKS:
        if len(sys.argv) > 1 and sys.argv[1] != check.__name__:
            continue
        name = f"python-{check.__name__.replace('_', '-')}-{os.getpid()}"
        core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=name)))
        try:
            check(name)
            print("ok", check.__name__, flush=True)
        except Exception as error:  # pylint: disable=broad-except
            failed = True
            print(f"FAILED {check.__name__}: {error}", flush=True)
            traceback.print_exc()
        core.delete_namespace(name)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
