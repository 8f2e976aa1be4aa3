//! Images: whether one must be pulled, and pulling it.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use proto::cri::{AuthConfig, Image};

use crate::events::{Recorder, Severity};
use crate::objects::Objects;
use crate::pod::backoff::Backoff;
use crate::pod::memory::{Pull, Waiting};
use crate::pod::spec;
use crate::runtime::Runtime;

/// What fetching an image came to.
#[derive(Debug)]
pub enum Outcome {
    /// It is there.
    Present(Box<Image>),
    /// It is not, for a reason to report; `pull` is what to remember when a pull failed just now.
    Absent {
        /// To report.
        waiting: Waiting,
        /// The state of pulls of this image.
        pull: Option<Pull>,
        /// When to try again.
        retry_at: Option<Timestamp>,
    },
}

/// What is needed to fetch images.
#[derive(Clone)]
pub struct Images {
    /// The runtime.
    pub runtime: Arc<dyn Runtime>,
    /// Where pull secrets come from.
    pub objects: Objects,
    /// Where events go.
    pub recorder: Recorder,
}

impl Images {
    /// Makes sure that a container's image is there, as its policy says.
    pub async fn ensure(
        &self,
        pod: &Pod,
        container: &Container,
        known: Option<Pull>,
        now: Timestamp,
    ) -> Outcome {
        let image = container.image.clone().unwrap_or_default();
        let Some(full) = with_tag(&image) else {
            let message = format!(
                "Failed to apply default image tag {image:?}: couldn't parse image name {image:?}: invalid reference format"
            );
            self.say(pod, container, Severity::Warning, "InspectFailed", &message);
            return absent("InvalidImageName", message, None, None);
        };
        let present = match self.runtime.image(full.clone()).await {
            Ok(present) => present,
            Err(error) => {
                let message = format!("Failed to inspect image {image:?}: {error}");
                self.say(pod, container, Severity::Warning, "InspectFailed", &message);
                return absent("ImageInspectError", message, None, None);
            }
        };
        match (policy(container, &full), present) {
            ("Never", None) => {
                let message = format!("Container image {image:?} is not present with pull policy of Never");
                self.say(pod, container, Severity::Warning, "ErrImageNeverPull", &message);
                absent("ErrImageNeverPull", message, None, None)
            }
            ("Never" | "IfNotPresent", Some(present)) => {
                let message = format!(
                    "Container image {image:?} already present on machine and can be accessed by the pod"
                );
                self.say(pod, container, Severity::Normal, "Pulled", &message);
                Outcome::Present(Box::new(present))
            }
            _ => self.pull(pod, container, &full, known, now).await,
        }
    }

    async fn pull(
        &self,
        pod: &Pod,
        container: &Container,
        full: &str,
        known: Option<Pull>,
        now: Timestamp,
    ) -> Outcome {
        let image = container.image.clone().unwrap_or_default();
        if let Some(pull) = &known
            && let Some(until) = Backoff::until(Some(pull.backoff), pull.backoff.updated, now)
        {
            let message = format!("Back-off pulling image {image:?}");
            self.say(pod, container, Severity::Normal, "BackOff", &message);
            return absent(
                "ImagePullBackOff",
                format!("{message}: {}", pull.said),
                known.clone(),
                Some(until),
            );
        }
        self.say(pod, container, Severity::Normal, "Pulling", &format!("Pulling image {image:?}"));
        let begun = std::time::Instant::now();
        let result = self.pull_with_any(pod, full).await;
        let failure = match result {
            Ok(reference) => match self.runtime.image(reference).await {
                Ok(Some(pulled)) => {
                    let took = go_millis(begun.elapsed());
                    let message = format!(
                        "Successfully pulled image {image:?} in {took} ({took} including waiting). Image size: {} bytes.",
                        pulled.size
                    );
                    self.say(pod, container, Severity::Normal, "Pulled", &message);
                    return Outcome::Present(Box::new(pulled));
                }
                Ok(None) => "the image vanished after it was pulled".to_owned(),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        let message = format!("Failed to pull image {image:?}: {failure}");
        self.say(pod, container, Severity::Warning, "Failed", &message);
        // Time has passed while pulling; the back-off counts from its end.
        let failed = now + jiff::SignedDuration::try_from(begun.elapsed()).unwrap_or_default();
        let backoff = Backoff::next(known.map(|pull| pull.backoff), failed, failed);
        let said = format!("ErrImagePull: {failure}");
        let retry_at = Some(failed + jiff::SignedDuration::from_secs(1));
        absent("ErrImagePull", failure, Some(Pull { backoff, said }), retry_at)
    }

    /// Tries the pod's credentials in turn, or none if there are none.
    async fn pull_with_any(&self, pod: &Pod, full: &str) -> Result<String, crate::runtime::RuntimeError> {
        let mut last = None;
        for auth in self.credentials(pod, full).await {
            match self.runtime.pull(full.to_owned(), Some(auth)).await {
                Ok(reference) => return Ok(reference),
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) => Err(error),
            None => self.runtime.pull(full.to_owned(), None).await,
        }
    }

    async fn credentials(&self, pod: &Pod, full: &str) -> Vec<AuthConfig> {
        let mut found = Vec::new();
        for reference in spec::spec(pod).image_pull_secrets.iter().flatten() {
            let secret = self.objects.secret(spec::namespace(pod), &reference.name).await.ok().flatten();
            let data = secret.and_then(|secret| secret.data).unwrap_or_default();
            if let Some(config) = data.get(".dockerconfigjson") {
                found.extend(docker_config(&config.0, full));
            }
        }
        found
    }

    fn say(&self, pod: &Pod, container: &Container, severity: Severity, reason: &str, message: &str) {
        self.recorder.container(pod, &container.name, severity, reason, message);
    }
}

fn absent(reason: &str, message: String, pull: Option<Pull>, retry_at: Option<Timestamp>) -> Outcome {
    Outcome::Absent { waiting: Waiting { reason: reason.to_owned(), message }, pull, retry_at }
}

/// The policy; what is not said follows from the tag.
fn policy<'a>(container: &'a Container, full: &str) -> &'a str {
    match container.image_pull_policy.as_deref() {
        Some(policy) if !policy.is_empty() => policy,
        _ if full.ends_with(":latest") => "Always",
        _ => "IfNotPresent",
    }
}

/// The name with `:latest` where neither tag nor digest is given; none when it cannot be a name.
fn with_tag(image: &str) -> Option<String> {
    let rest = image.rsplit('/').next().unwrap_or(image);
    let valid = !image.is_empty()
        && !rest.is_empty()
        && image.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./:@_-+[]".contains(&byte));
    // A repository is lower case; a tag and a host may not be.
    let repository = rest.split([':', '@']).next().unwrap_or(rest);
    if !valid || repository.is_empty() || repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    Some(if rest.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") })
}

/// The credentials in a docker config that fit an image's registry.
fn docker_config(config: &[u8], full: &str) -> Vec<AuthConfig> {
    let tree: serde_json::Value = serde_json::from_slice(config).unwrap_or_default();
    let host = match full.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    };
    let fits = |server: &str| {
        let server = server.trim_start_matches("https://").trim_start_matches("http://");
        let server = server.split('/').next().unwrap_or(server);
        server == host || (host == "docker.io" && server == "index.docker.io")
    };
    let entries = tree["auths"].as_object().into_iter().flatten();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    entries
        .filter(|(server, _)| fits(server))
        .map(|(server, entry)| AuthConfig {
            username: text(&entry["username"]),
            password: text(&entry["password"]),
            auth: text(&entry["auth"]),
            server_address: server.clone(),
            identity_token: text(&entry["identitytoken"]),
            registry_token: text(&entry["registrytoken"]),
        })
        .collect()
}

/// A duration in whole milliseconds, as Go prints it.
fn go_millis(duration: std::time::Duration) -> String {
    let millis = duration.as_millis();
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let text = format!("{}.{:03}", millis / 1000 % 60, millis % 1000);
    let text = text.trim_end_matches('0').trim_end_matches('.').to_owned();
    match millis / 60_000 {
        0 => format!("{text}s"),
        minutes => format!("{minutes}m{text}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_a_tag() {
        let cases = [
            ("busybox", Some("busybox:latest")),
            ("busybox:1.35", Some("busybox:1.35")),
            ("localhost:5000/a/b", Some("localhost:5000/a/b:latest")),
            ("a/b@sha256:00", Some("a/b@sha256:00")),
            ("Busybox", None),
            ("", None),
            ("a b", None),
            ("a/", None),
        ];
        for (image, expected) in cases {
            assert_eq!(with_tag(image).as_deref(), expected, "{image}");
        }
    }

    #[test]
    fn credentials_fit_their_registry() {
        let config = br#"{"auths": {"https://index.docker.io/v1/": {"username": "u"}, "r.example": {"auth": "eDp5"}}}"#;
        let users = |image: &str| -> Vec<String> {
            docker_config(config, image).into_iter().map(|auth| auth.server_address).collect()
        };
        assert_eq!(users("busybox:1"), ["https://index.docker.io/v1/"]);
        assert_eq!(users("r.example/a:1"), ["r.example"]);
        assert_eq!(users("other.example/a:1"), [""; 0]);
    }
}
