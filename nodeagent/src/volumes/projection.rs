//! Volumes whose files come from elsewhere: configMap, secret, downwardAPI, projected.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, ServiceAccountTokenProjection, Volume,
    VolumeProjection,
};

use super::atomic::{File, Payload};
use super::{Context, VolumeError};
use crate::container::downward;
use crate::objects::TokenKey;
use crate::pod::spec;

/// The mode of files when nothing is said.
const DEFAULT_MODE: i32 = 0o644;
/// How often sources are looked at again.
const LOOK_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// When the contents are due: a minute from now, or earlier when a token ages.
pub fn next_look(context: Context<'_>, pod: &Pod) -> Timestamp {
    let usual = context.now + LOOK_EVERY;
    context.objects.token_refresh_at(spec::uid(pod)).map_or(usual, |at| at.clamp(context.now, usual))
}

/// The files that a volume should hold now.
pub async fn payload(context: Context<'_>, pod: &Pod, volume: &Volume) -> Result<Payload, VolumeError> {
    let namespace = spec::namespace(pod);
    if let Some(source) = &volume.config_map {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let items = Items { items: source.items.as_deref(), optional: source.optional == Some(true), mode };
        return config_map(context, namespace, &source.name, items).await;
    }
    if let Some(source) = &volume.secret {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let items = Items { items: source.items.as_deref(), optional: source.optional == Some(true), mode };
        let name = source.secret_name.as_deref().unwrap_or_default();
        return secret(context, namespace, name, items).await;
    }
    if let Some(source) = &volume.downward_api {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        return downward_api(context, pod, source.items.as_deref().unwrap_or_default(), mode);
    }
    let source = volume.projected.clone().unwrap_or_default();
    let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
    let mut payload = Payload::new();
    for projection in source.sources.iter().flatten() {
        payload.extend(projected(context, pod, projection, mode).await?);
    }
    Ok(payload)
}

async fn projected(
    context: Context<'_>,
    pod: &Pod,
    projection: &VolumeProjection,
    mode: i32,
) -> Result<Payload, VolumeError> {
    let namespace = spec::namespace(pod);
    if let Some(source) = &projection.config_map {
        let items = Items { items: source.items.as_deref(), optional: source.optional == Some(true), mode };
        return config_map(context, namespace, &source.name, items).await;
    }
    if let Some(source) = &projection.secret {
        let items = Items { items: source.items.as_deref(), optional: source.optional == Some(true), mode };
        return secret(context, namespace, &source.name, items).await;
    }
    if let Some(source) = &projection.downward_api {
        return downward_api(context, pod, source.items.as_deref().unwrap_or_default(), mode);
    }
    if let Some(source) = &projection.service_account_token {
        return token(context, pod, source, mode).await;
    }
    Err(VolumeError::Source("a projected source is of a kind that this node does not support".into()))
}

/// Which keys go where.
#[derive(Debug, Clone, Copy)]
struct Items<'a> {
    items: Option<&'a [KeyToPath]>,
    optional: bool,
    mode: i32,
}

async fn config_map(
    context: Context<'_>,
    namespace: &str,
    name: &str,
    items: Items<'_>,
) -> Result<Payload, VolumeError> {
    let found = context
        .objects
        .config_map(namespace, name)
        .await
        .map_err(|error| VolumeError::Source(error.to_string()))?;
    let Some(ConfigMap { data, binary_data, .. }) = found else {
        return missing(items, format!("configmap {name:?} not found"));
    };
    let mut all: BTreeMap<String, Vec<u8>> =
        data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes())).collect();
    all.extend(binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)));
    choose(all, items, "config")
}

async fn secret(
    context: Context<'_>,
    namespace: &str,
    name: &str,
    items: Items<'_>,
) -> Result<Payload, VolumeError> {
    let found = context
        .objects
        .secret(namespace, name)
        .await
        .map_err(|error| VolumeError::Source(error.to_string()))?;
    let Some(Secret { data, .. }) = found else {
        return missing(items, format!("secret {name:?} not found"));
    };
    let all = data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
    choose(all, items, "secret")
}

fn missing(items: Items<'_>, message: String) -> Result<Payload, VolumeError> {
    if items.optional { Ok(Payload::new()) } else { Err(VolumeError::Source(message)) }
}

fn choose(all: BTreeMap<String, Vec<u8>>, items: Items<'_>, what: &str) -> Result<Payload, VolumeError> {
    let Some(list) = items.items.filter(|list| !list.is_empty()) else {
        return Ok(all.into_iter().map(|(key, data)| (key, file(data, items.mode))).collect());
    };
    let mut payload = Payload::new();
    for item in list {
        match all.get(&item.key) {
            Some(data) => {
                payload.insert(item.path.clone(), file(data.clone(), item.mode.unwrap_or(items.mode)));
            }
            None if items.optional => {}
            None => {
                return Err(VolumeError::Source(format!("references non-existent {what} key: {}", item.key)));
            }
        }
    }
    Ok(payload)
}

fn file(data: Vec<u8>, mode: i32) -> File {
    File { data, mode: u32::try_from(mode).unwrap_or(0o644) & 0o777, owner: None }
}

fn downward_api(
    context: Context<'_>,
    pod: &Pod,
    items: &[DownwardAPIVolumeFile],
    mode: i32,
) -> Result<Payload, VolumeError> {
    let mut payload = Payload::new();
    for item in items {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => downward::field(pod, context.place, &field.field_path),
            (None, Some(resource)) => downward::resource(pod, None, context.place, resource),
            (None, None) => Ok(String::new()),
        };
        let text = text.map_err(VolumeError::Source)?;
        payload.insert(item.path.clone(), file(text.into_bytes(), item.mode.unwrap_or(mode)));
    }
    Ok(payload)
}

async fn token(
    context: Context<'_>,
    pod: &Pod,
    source: &ServiceAccountTokenProjection,
    mode: i32,
) -> Result<Payload, VolumeError> {
    let key = TokenKey {
        namespace: spec::namespace(pod).to_owned(),
        service_account: spec::spec(pod).service_account_name.clone().unwrap_or_else(|| "default".into()),
        pod_name: spec::name(pod).to_owned(),
        pod_uid: spec::uid(pod).to_owned(),
        audience: source.audience.clone().unwrap_or_default(),
        expiration_seconds: source.expiration_seconds.unwrap_or(3600),
    };
    let token = context
        .objects
        .token(key, context.now)
        .await
        .map_err(|error| VolumeError::Source(format!("failed to fetch token: {error}")))?;
    let owner = common_user(pod);
    let has_group =
        spec::spec(pod).security_context.as_ref().is_some_and(|context| context.fs_group.is_some());
    // With an owner or a group of its own nobody else need read it.
    let mode = if owner.is_some() || has_group { 0o600 } else { mode };
    Ok([(source.path.clone(), File { owner, ..file(token.into_bytes(), mode) })].into())
}

/// The user that all containers run as, if it is one.
fn common_user(pod: &Pod) -> Option<u32> {
    let shared = spec::spec(pod).security_context.as_ref().and_then(|context| context.run_as_user);
    let mut users = spec::containers(pod)
        .map(|(_, container)| container.security_context.as_ref().and_then(|own| own.run_as_user).or(shared));
    let first = users.next()??;
    users.all(|user| user == Some(first)).then(|| u32::try_from(first).ok()).flatten()
}
