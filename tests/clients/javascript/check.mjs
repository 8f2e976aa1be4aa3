// What programs do with the official JavaScript client, checked against the cluster that KUBECONFIG names.
//
// Each check works in a namespace of its own and prints `ok NAME` or `FAILED NAME: why`.

import assert from 'node:assert/strict';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import * as k8s from '@kubernetes/client-node';

// Nothing here takes as long in milliseconds: whatever does has hung.
const PATIENCE_MS = 60_000;

const kubeconfig = new k8s.KubeConfig();
kubeconfig.loadFromFile(process.env.KUBECONFIG);
const core = kubeconfig.makeApiClient(k8s.CoreV1Api);
const apps = kubeconfig.makeApiClient(k8s.AppsV1Api);

async function until(what, holds) {
    const end = Date.now() + PATIENCE_MS;
    while (!(await holds())) {
        if (Date.now() > end) throw new Error(`not within ${PATIENCE_MS} ms: ${what}`);
        await sleep(50);
    }
}

/** The call must fail with this code, reason and words; returns the Status. */
async function refused(call, code, reason, words) {
    let answer;
    try {
        answer = await call();
    } catch (error) {
        assert.ok(error instanceof k8s.ApiException, `not an ApiException: ${error}`);
        const status = typeof error.body === 'string' ? JSON.parse(error.body) : error.body;
        assert.deepEqual([error.code, status.reason], [code, reason]);
        assert.ok(status.message.includes(words), `${status.message} lacks ${words}`);
        return status;
    }
    throw new Error(`nothing is refused: ${JSON.stringify(answer)}`);
}

const configMap = (name, data) => ({ metadata: { name, labels: { app: 'test' } }, data });

const deployment = (name) => ({
    metadata: { name, labels: { app: name } },
    spec: {
        replicas: 0,
        selector: { matchLabels: { app: name } },
        template: {
            metadata: { labels: { app: name } },
            spec: { containers: [{ name: 'app', image: 'registry.example/app:1' }] },
        },
    },
});

async function crud(namespace) {
    const made = await apps.createNamespacedDeployment({ namespace, body: deployment('web') });
    assert.equal(made.spec.strategy.type, 'RollingUpdate');
    assert.ok(made.metadata.creationTimestamp instanceof Date);
    const replaced = async () => {
        const body = await apps.readNamespacedDeployment({ namespace, name: 'web' });
        body.spec.template.spec.containers[0].image = 'registry.example/app:2';
        try {
            return await apps.replaceNamespacedDeployment({ namespace, name: 'web', body });
        } catch (error) {
            // The controller writes the status meanwhile.
            assert.equal(error.code, 409);
            return replaced();
        }
    };
    assert.equal((await replaced()).metadata.generation, made.metadata.generation + 1);
    const scale = await apps.readNamespacedDeploymentScale({ namespace, name: 'web' });
    assert.equal(scale.status.selector, 'app=web');
    await apps.deleteNamespacedDeployment({ namespace, name: 'web', propagationPolicy: 'Foreground' });
    await until('it is gone', async () => (await apps.listNamespacedDeployment({ namespace })).items.length === 0);
}

async function errors(namespace) {
    const first = await core.createNamespacedConfigMap({ namespace, body: configMap('one') });
    await refused(() => core.readNamespacedConfigMap({ namespace, name: 'two' }), 404, 'NotFound', 'configmaps "two" not found');
    await refused(() => core.createNamespacedConfigMap({ namespace, body: configMap('one') }), 409, 'AlreadyExists', 'already exists');
    const status = await refused(
        () => core.createNamespacedConfigMap({ namespace, body: configMap('Not_A_Name') }),
        422, 'Invalid', 'ConfigMap "Not_A_Name" is invalid: metadata.name: Invalid value: ',
    );
    assert.deepEqual(status.details.causes.map((cause) => cause.field), ['metadata.name']);
    await core.patchNamespacedConfigMap(
        { namespace, name: 'one', body: { data: { k: 'v' } } },
        k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.MergePatch),
    );
    await refused(
        () => core.replaceNamespacedConfigMap({ namespace, name: 'one', body: { ...first, data: { k: 'w' } } }),
        409, 'Conflict', 'the object has been modified; please apply your changes to the latest version and try again',
    );
    await refused(
        () => core.createNamespacedConfigMap({ namespace, body: { ...configMap('odd'), immutable: 'yes' } }),
        400, 'BadRequest', 'ConfigMap in version "v1" cannot be handled as a ConfigMap',
    );
}

async function patches(namespace) {
    await apps.createNamespacedDeployment({ namespace, body: deployment('web') });
    const side = { spec: { template: { spec: { containers: [{ name: 'side', image: 's:1' }] } } } };
    const names = async (body, strategy) => {
        const options = k8s.setHeaderOptions('Content-Type', strategy);
        const patched = await apps.patchNamespacedDeployment({ namespace, name: 'web', body }, options);
        return patched.spec.template.spec.containers.map((container) => container.name);
    };
    assert.deepEqual(await names(side, k8s.PatchStrategy.StrategicMergePatch), ['side', 'app']);
    assert.deepEqual(await names(side, k8s.PatchStrategy.MergePatch), ['side']);
    const rename = [{ op: 'replace', path: '/spec/template/spec/containers/0/name', value: 'new' }];
    assert.deepEqual(await names(rename, k8s.PatchStrategy.JsonPatch), ['new']);
    const test = [{ op: 'test', path: '/spec/replicas', value: 5 }];
    await refused(() => names(test, k8s.PatchStrategy.JsonPatch), 422, 'Invalid', '');
}

async function apply(namespace) {
    const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'one' } };
    const applied = (manager, value, force) =>
        core.patchNamespacedConfigMap(
            { namespace, name: 'one', fieldManager: manager, force, body: { ...body, data: { k: value } } },
            k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.ServerSideApply),
        );
    const first = await applied('one', '1');
    assert.deepEqual(first.metadata.managedFields.map((entry) => [entry.manager, entry.operation]), [['one', 'Apply']]);
    const status = await refused(() => applied('two', '2'), 409, 'Conflict', 'conflict with "one": .data.k');
    assert.equal(status.details.causes[0].reason, 'FieldManagerConflict');
    assert.equal((await applied('two', '2', true)).data.k, '2');
}

/** Objects of any kind: the client finds their paths by discovery. */
async function anyKind(namespace) {
    const client = k8s.KubernetesObjectApi.makeApiClient(kubeconfig);
    const documents = k8s.loadAllYaml(`
apiVersion: v1
kind: ConfigMap
metadata: {name: filed, namespace: ${namespace}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: door, namespace: ${namespace}}
spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}
`);
    for (const document of documents) await client.create(document);
    const door = { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', metadata: { name: 'door', namespace } };
    const patched = await client.patch({ ...door, metadata: { ...door.metadata, labels: { a: 'b' } } });
    assert.equal(patched.metadata.labels.a, 'b');
    const applied = { ...door, spec: { defaultBackend: { service: { name: 'web', port: { number: 81 } } } } };
    const forced = await client.patch(applied, undefined, undefined, 'tester', true, k8s.PatchStrategy.ServerSideApply);
    assert.equal(forced.spec.defaultBackend.service.port.number, 81);
    const listed = await client.list('networking.k8s.io/v1', 'Ingress', namespace);
    assert.deepEqual(listed.items.map((item) => item.metadata.name), ['door']);
    await client.delete(door);
    await assert.rejects(client.read(door), (error) => error.code === 404);
}

async function watches(namespace) {
    const start = (await core.listNamespacedConfigMap({ namespace })).metadata.resourceVersion;
    const seen = [];
    const watch = new k8s.Watch(kubeconfig);
    let ended;
    const end = new Promise((resolve) => (ended = resolve));
    const path = `/api/v1/namespaces/${namespace}/configmaps`;
    const query = { resourceVersion: start, labelSelector: 'app=test', allowWatchBookmarks: true };
    const controller = await watch.watch(path, query, (phase, object) => seen.push(`${phase} ${object.data?.k}`), ended);
    await core.createNamespacedConfigMap({ namespace, body: configMap('one', { k: '1' }) });
    const merge = k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.MergePatch);
    await core.patchNamespacedConfigMap({ namespace, name: 'one', body: { data: { k: '2' } } }, merge);
    await core.deleteNamespacedConfigMap({ namespace, name: 'one' });
    await until('all is watched', () => seen.length >= 3);
    controller.abort();
    await end;
    assert.deepEqual(seen, ['ADDED 1', 'MODIFIED 2', 'DELETED 2']);
    for (let number = 0; number < 5; number += 1) {
        await core.createNamespacedConfigMap({ namespace, body: configMap(`page-${number}`) });
    }
    const pages = [];
    let token;
    do {
        const page = await core.listNamespacedConfigMap({ namespace, limit: 2, labelSelector: 'app=test', _continue: token });
        pages.push(page.items.map((item) => item.metadata.name));
        token = page.metadata._continue;
    } while (token);
    assert.deepEqual(pages, [['page-0', 'page-1'], ['page-2', 'page-3'], ['page-4']]);
}

async function informer(namespace) {
    await core.createNamespacedConfigMap({ namespace, body: configMap('before') });
    const list = () => core.listNamespacedConfigMap({ namespace, labelSelector: 'app=test' });
    const shared = k8s.makeInformer(kubeconfig, `/api/v1/namespaces/${namespace}/configmaps`, list, 'app=test');
    const told = [];
    for (const verb of ['add', 'update', 'delete']) shared.on(verb, (object) => told.push(`${verb} ${object.metadata.name}`));
    shared.on('error', (error) => told.push(`error ${error}`));
    await shared.start();
    await core.createNamespacedConfigMap({ namespace, body: configMap('after') });
    const merge = k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.MergePatch);
    await core.patchNamespacedConfigMap({ namespace, name: 'before', body: { data: { k: 'v' } } }, merge);
    await core.deleteNamespacedConfigMap({ namespace, name: 'after' });
    await until('the deletion is told', () => told.includes('delete after'));
    assert.deepEqual(shared.list(namespace).map((object) => [object.metadata.name, object.data?.k]), [['before', 'v']]);
    await shared.stop();
    assert.deepEqual(told.filter((one) => !one.startsWith('error')), ['add before', 'add after', 'update before', 'delete after']);
}

async function tokens(namespace) {
    await core.createNamespacedServiceAccount({ namespace, body: { metadata: { name: 'robot' } } });
    const request = { namespace, name: 'robot', body: { spec: { audiences: [], expirationSeconds: 600 } } };
    const token = (await core.createNamespacedServiceAccountToken(request)).status.token;
    const robot = new k8s.KubeConfig();
    robot.loadFromClusterAndUser(kubeconfig.getCurrentCluster(), { name: 'robot', token });
    const review = await robot.makeApiClient(k8s.AuthenticationV1Api).createSelfSubjectReview({ body: {} });
    const name = `system:serviceaccount:${namespace}:robot`;
    assert.equal(review.status.userInfo.username, name);
    await refused(
        () => robot.makeApiClient(k8s.CoreV1Api).listNamespacedPod({ namespace }),
        403, 'Forbidden', `pods is forbidden: User "${name}" cannot list resource "pods" in API group "" in the namespace "${namespace}"`,
    );
}

async function discovery() {
    assert.equal((await kubeconfig.makeApiClient(k8s.VersionApi).getCode()).minor, '36');
    const groups = (await kubeconfig.makeApiClient(k8s.ApisApi).getAPIVersions()).groups;
    const preferred = Object.fromEntries(groups.map((group) => [group.name, group.preferredVersion.version]));
    assert.deepEqual([preferred.autoscaling, preferred.batch, preferred['events.k8s.io']], ['v2', 'v1', 'v1']);
}

const checks = { discovery, crud, errors, patches, apply, anyKind, watches, informer, tokens };
let failed = false;
for (const [name, check] of Object.entries(checks)) {
    if (process.argv[2] && process.argv[2] !== name) continue;
    const namespace = `javascript-${name.toLowerCase()}-${process.pid}`;
    await core.createNamespace({ body: { metadata: { name: namespace } } });
    try {
        await check(namespace);
        console.log('ok', name);
    } catch (error) {
        failed = true;
        console.log(`FAILED ${name}:`, error);
    }
    await core.deleteNamespace({ name: namespace });
}
process.exit(failed ? 1 : 0);
