//! The environment of a container.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, Secret, Service};

use super::downward::{self, Place};
use super::expand::expand;
use crate::pod::spec;

/// Objects that the environment refers to, fetched beforehand. `None`: it does not exist.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// ConfigMaps by name.
    pub config_maps: BTreeMap<String, Option<ConfigMap>>,
    /// Secrets by name.
    pub secrets: BTreeMap<String, Option<Secret>>,
}

/// What there is to fetch for a container's environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// Names of ConfigMaps.
    pub config_maps: std::collections::BTreeSet<String>,
    /// Names of Secrets.
    pub secrets: std::collections::BTreeSet<String>,
}

/// Collects what [`environment`] will look up.
pub fn references(container: &Container) -> References {
    let mut found = References::default();
    for source in container.env_from.iter().flatten() {
        found.config_maps.extend(source.config_map_ref.as_ref().map(|source| source.name.clone()));
        found.secrets.extend(source.secret_ref.as_ref().map(|source| source.name.clone()));
    }
    for source in container.env.iter().flatten().filter_map(|var| var.value_from.as_ref()) {
        found.config_maps.extend(source.config_map_key_ref.as_ref().map(|source| source.name.clone()));
        found.secrets.extend(source.secret_key_ref.as_ref().map(|source| source.name.clone()));
    }
    found
}

/// Variables in the order of their first mention; a later mention replaces the value.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Environment(Vec<(String, String)>);

impl Environment {
    fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(other, _)| other == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &(String, String)> {
        self.0.iter()
    }
}

/// Builds the environment, or says what is missing.
pub fn environment(
    pod: &Pod,
    container: &Container,
    place: &Place,
    sources: &Sources,
    services: &[Service],
) -> Result<Environment, String> {
    let service_env = service_environment(pod, services);
    let mut env = Environment::default();
    add_env_from(container, sources, &mut env)?;
    for var in container.env.iter().flatten() {
        let value = match &var.value_from {
            None => {
                let lookup =
                    |name: &str| env.get(name).map(str::to_owned).or_else(|| service_env.get(name).cloned());
                Some(expand(var.value.as_deref().unwrap_or_default(), lookup))
            }
            Some(source) => from_source(pod, container, place, sources, source)?,
        };
        if let Some(value) = value {
            env.set(&var.name, value);
        }
    }
    for (name, value) in service_env {
        if env.get(&name).is_none() {
            env.set(&name, value);
        }
    }
    Ok(env)
}

fn add_env_from(container: &Container, sources: &Sources, env: &mut Environment) -> Result<(), String> {
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let mut pairs = Vec::new();
        if let Some(reference) = &source.config_map_ref {
            match config_map(sources, &reference.name) {
                Some(map) => pairs.extend(map.data.clone().unwrap_or_default()),
                None if reference.optional == Some(true) => {}
                None => return Err(format!("configmap {:?} not found", reference.name)),
            }
        }
        if let Some(reference) = &source.secret_ref {
            match secret(sources, &reference.name) {
                Some(secret) => pairs.extend(texts(secret)),
                None if reference.optional == Some(true) => {}
                None => return Err(format!("secret {:?} not found", reference.name)),
            }
        }
        for (key, value) in pairs {
            let name = format!("{prefix}{key}");
            if is_name(&name) {
                env.set(&name, value);
            }
        }
    }
    Ok(())
}

/// Printable ASCII without `=`, as the API server checks names that are written out.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'=')
}

fn config_map<'a>(sources: &'a Sources, name: &str) -> Option<&'a ConfigMap> {
    sources.config_maps.get(name).and_then(Option::as_ref)
}

fn secret<'a>(sources: &'a Sources, name: &str) -> Option<&'a Secret> {
    sources.secrets.get(name).and_then(Option::as_ref)
}

fn texts(secret: &Secret) -> impl Iterator<Item = (String, String)> + '_ {
    let data = secret.data.iter().flatten();
    data.map(|(key, value)| (key.clone(), String::from_utf8_lossy(&value.0).into_owned()))
}

/// A value from elsewhere; none when it is optional and not there.
fn from_source(
    pod: &Pod,
    container: &Container,
    place: &Place,
    sources: &Sources,
    source: &EnvVarSource,
) -> Result<Option<String>, String> {
    if let Some(reference) = &source.field_ref {
        return downward::field(pod, place, &reference.field_path).map(Some);
    }
    if let Some(reference) = &source.resource_field_ref {
        return downward::resource(pod, Some(container), place, reference).map(Some);
    }
    let namespace = spec::namespace(pod);
    if let Some(reference) = &source.config_map_key_ref {
        let map = config_map(sources, &reference.name);
        let value = map.and_then(|map| map.data.as_ref()?.get(&reference.key)).cloned();
        let missing = match map {
            Some(_) => {
                format!("couldn't find key {} in ConfigMap {namespace}/{}", reference.key, reference.name)
            }
            None => format!("configmap {:?} not found", reference.name),
        };
        return optional(value, reference.optional, missing);
    }
    if let Some(reference) = &source.secret_key_ref {
        let secret = secret(sources, &reference.name);
        let value = secret.and_then(|secret| secret.data.as_ref()?.get(&reference.key));
        let value = value.map(|value| String::from_utf8_lossy(&value.0).into_owned());
        let missing = match secret {
            Some(_) => {
                format!("couldn't find key {} in Secret {namespace}/{}", reference.key, reference.name)
            }
            None => format!("secret {:?} not found", reference.name),
        };
        return optional(value, reference.optional, missing);
    }
    Err("a value of the environment comes from a source that this version does not know".into())
}

fn optional(
    value: Option<String>,
    optional: Option<bool>,
    missing: String,
) -> Result<Option<String>, String> {
    match (value, optional) {
        (Some(value), _) => Ok(Some(value)),
        (None, Some(true)) => Ok(None),
        (None, _) => Err(missing),
    }
}

/// Variables that name the services of the pod's namespace, and `kubernetes` of `default` always.
pub fn service_environment(pod: &Pod, services: &[Service]) -> BTreeMap<String, String> {
    let links = spec::spec(pod).enable_service_links.unwrap_or(true);
    let own = spec::namespace(pod);
    let mut chosen = BTreeMap::<&str, &Service>::new();
    for service in services.iter().filter(|service| cluster_ip(service).is_some()) {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        match service.metadata.namespace.as_deref() {
            Some(namespace) if namespace == own && links => {
                chosen.insert(name, service);
            }
            Some("default") if name == "kubernetes" => {
                chosen.entry(name).or_insert(service);
            }
            _ => {}
        }
    }
    chosen.into_iter().flat_map(|(name, service)| service_variables(name, service)).collect()
}

fn cluster_ip(service: &Service) -> Option<&str> {
    let ip = service.spec.as_ref()?.cluster_ip.as_deref()?;
    (!ip.is_empty() && ip != "None").then_some(ip)
}

fn service_variables(name: &str, service: &Service) -> Vec<(String, String)> {
    let Some(ip) = cluster_ip(service) else { return Vec::new() };
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let prefix = variable_name(name);
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let mut variables = vec![(format!("{prefix}_SERVICE_HOST"), ip.to_owned())];
    for (index, port) in ports.iter().enumerate() {
        let number = port.port;
        if index == 0 {
            variables.push((format!("{prefix}_SERVICE_PORT"), number.to_string()));
        }
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            variables.push((format!("{prefix}_SERVICE_PORT_{}", variable_name(name)), number.to_string()));
        }
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let lower = protocol.to_lowercase();
        let url = format!("{lower}://{host}:{number}");
        let link = format!("{prefix}_PORT_{number}_{}", protocol.to_uppercase());
        if index == 0 {
            variables.push((format!("{prefix}_PORT"), url.clone()));
        }
        variables.extend([
            (link.clone(), url),
            (format!("{link}_PROTO"), lower),
            (format!("{link}_PORT"), number.to_string()),
            (format!("{link}_ADDR"), ip.to_owned()),
        ]);
    }
    variables
}

fn variable_name(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
        serde_json::from_value(value).expect("a valid object")
    }

    fn pod(container: serde_json::Value) -> Pod {
        of(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "labels": {"app": "web", "b": "x\"y"}},
            "spec": {"nodeName": "n1", "serviceAccountName": "robot", "containers": [container]}
        }))
    }

    fn sources() -> Sources {
        let map = of(json!({"metadata": {"name": "settings"}, "data": {"color": "blue", "bad=name": "x"}}));
        let secret = of(json!({"metadata": {"name": "keys"}, "data": {"token": "czNjcjN0"}}));
        Sources {
            config_maps: [("settings".into(), Some(map)), ("gone".into(), None)].into(),
            secrets: [("keys".into(), Some(secret))].into(),
        }
    }

    /// `check(container, expected)`: one `NAME=value` a line, service variables left out; or the error.
    fn check(container: serde_json::Value, expected: &str) {
        let pod = pod(container);
        let place = Place {
            host_ips: vec!["172.30.0.1".into()],
            pod_ips: vec!["10.244.1.2".into(), "fd00::2".into()],
            allocatable_cpu: 2000,
            allocatable_memory: 1 << 30,
        };
        let container = &spec::main_containers(&pod)[0];
        let text = match environment(&pod, container, &place, &sources(), &[]) {
            Ok(env) => {
                env.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("\n")
            }
            Err(error) => format!("error: {error}"),
        };
        assert_eq!(text, expected);
    }

    #[test]
    fn values_refer_to_earlier_ones() {
        check(
            json!({"name": "c", "env": [
                {"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(C)"}, {"name": "C", "value": "3"},
                {"name": "A", "value": "$(A)1"}]}),
            "A=11\nB=1$(C)\nC=3",
        );
    }

    #[test]
    fn all_keys_of_a_map_and_one_of_a_secret() {
        check(
            json!({"name": "c", "envFrom": [{"prefix": "P_", "configMapRef": {"name": "settings"}}],
                "env": [{"name": "T", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}}]}),
            "P_color=blue\nT=s3cr3t",
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let reference = |kind: &str, name: &str, key: &str, optional: bool| json!({"name": "c", "env": [{"name": "X", "valueFrom": {kind: {"name": name, "key": key, "optional": optional}}}]});
        check(reference("configMapKeyRef", "gone", "a", false), "error: configmap \"gone\" not found");
        check(
            reference("configMapKeyRef", "settings", "a", false),
            "error: couldn't find key a in ConfigMap shop/settings",
        );
        check(
            reference("secretKeyRef", "keys", "a", false),
            "error: couldn't find key a in Secret shop/keys",
        );
        check(reference("secretKeyRef", "keys", "a", true), "");
    }

    #[test]
    fn a_pod_learns_about_itself() {
        let field =
            |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
        let amount = |name: &str, resource: &str, divisor: &str| json!({"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource, "divisor": divisor}}});
        check(
            json!({"name": "c", "resources": {"limits": {"memory": "64Mi"}}, "env": [
                field("NAME", "metadata.name"), field("NODE", "spec.nodeName"), field("IP", "status.podIP"),
                field("IPS", "status.podIPs"), field("APP", "metadata.labels['app']"),
                field("SA", "spec.serviceAccountName"), amount("MEM", "limits.memory", "1Mi"),
                amount("CPU", "limits.cpu", "0"), amount("REQ", "requests.cpu", "1m")]}),
            "NAME=web\nNODE=n1\nIP=10.244.1.2\nIPS=10.244.1.2,fd00::2\nAPP=web\nSA=robot\nMEM=64\nCPU=2\nREQ=0",
        );
    }

    #[test]
    fn services_are_named() {
        let service = |namespace: &str, name: &str, ip: &str| -> Service {
            of(json!({"metadata": {"name": name, "namespace": namespace},
                "spec": {"clusterIP": ip, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}}))
        };
        let services = [
            service("shop", "my-db", "10.96.0.5"),
            service("shop", "headless", "None"),
            service("other", "db", "10.96.0.6"),
            service("default", "kubernetes", "10.96.0.1"),
        ];
        let text: Vec<String> = service_environment(&pod(json!({"name": "c"})), &services)
            .into_iter()
            .filter(|(name, _)| name.starts_with("MY") || name == "KUBERNETES_SERVICE_HOST")
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            text,
            [
                "KUBERNETES_SERVICE_HOST=10.96.0.1",
                "MY_DB_PORT=tcp://10.96.0.5:80",
                "MY_DB_PORT_80_TCP=tcp://10.96.0.5:80",
                "MY_DB_PORT_80_TCP_ADDR=10.96.0.5",
                "MY_DB_PORT_80_TCP_PORT=80",
                "MY_DB_PORT_80_TCP_PROTO=tcp",
                "MY_DB_SERVICE_HOST=10.96.0.5",
                "MY_DB_SERVICE_PORT=80",
                "MY_DB_SERVICE_PORT_HTTP=80",
            ]
        );
    }
}
